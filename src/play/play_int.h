/* play/play_int.h - between the files of this room. */
#ifndef MATINEE_PLAY_PLAY_INT_H
#define MATINEE_PLAY_PLAY_INT_H

#include "play/play.h"

/* Which text of a view is kept where. */
enum slot { SLOT_MASTER, SLOT_VIDEO, SLOT_AUDIO, SLOT_MANIFEST, SLOT_THUMBNAILS, SLOT_RENDITIONS };

/* The configuration of a track's newest segment, or NULL when the video has no such track. */
const struct codec_config *play_config(const struct video_view *v, enum track track);

/* The configuration of a listed rendition's newest segment. */
const struct codec_config *play_rendition_config(const struct rendition *r);

#endif
