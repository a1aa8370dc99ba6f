"""OBS itself, as a producer has it: on a screen that nobody sees, with its own defaults."""
import json
import os
import pathlib
import shutil
import signal
import subprocess

import matinee
import pytest

pytestmark = pytest.mark.skipif(not (shutil.which('obs') and shutil.which('Xvfb')), reason='obs-studio or xvfb is not installed')


@pytest.fixture
def screen():
    """A screen for one test; yields its name."""
    read, write = os.pipe()
    xvfb = subprocess.Popen(['Xvfb', '-displayfd', str(write), '-screen', '0', '1280x800x24'], pass_fds=[write],
                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    os.close(write)
    with os.fdopen(read) as told:
        number = told.readline().strip()  # comes when the screen is there
    assert number
    yield ':' + number
    xvfb.terminate()
    xvfb.wait()


def configure(home, event, server):
    config = home / '.config' / 'obs-studio'
    profile = config / 'basic' / 'profiles' / 'test'
    profile.mkdir(parents=True)
    (config / 'global.ini').write_text('[General]\nFirstRun=true\nEnableAutoUpdates=false\n[Basic]\nProfile=test\nProfileDir=test\n'
                                       'SceneCollection=test\nSceneCollectionFile=test\nConfigOnNewProfile=true\n')
    (profile / 'basic.ini').write_text('[General]\nName=test\n[Video]\nBaseCX=640\nBaseCY=360\nOutputCX=640\nOutputCY=360\n'
                                       'FPSCommon=30\n[Output]\nMode=Simple\n[SimpleOutput]\nStreamEncoder=x264\nVBitrate=800\n')
    (profile / 'service.json').write_text(json.dumps({'type': 'rtmp_custom', 'settings': {
        'server': server.rtmp, 'key': event['streamKey'], 'use_auth': False, 'bwtest': False}}))
    return config


def obs(home, screen, *words):
    environment = {**os.environ, 'HOME': str(home), 'XDG_CONFIG_HOME': str(home / '.config'), 'DISPLAY': screen,
                   'LIBGL_ALWAYS_SOFTWARE': '1', 'QT_QPA_PLATFORM': 'xcb'}
    return subprocess.Popen(['obs', '--profile', 'test', '--collection', 'test', '--multi', '--disable-updater', *words],
                            env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def test_obs_publishes(make_server, screen, tmp_path):
    server = make_server('--segment', '2', '--grace', '1')
    event = server.make_event('OBS')
    config = configure(tmp_path, event, server)
    first = obs(tmp_path, screen)  # makes its scene; only then does --startstreaming start anything
    try:
        matinee.until(lambda: list(pathlib.Path(config / 'basic' / 'scenes').glob('*.json')), 40, 'a scene')
    finally:
        matinee.end_process(first)
    publisher = obs(tmp_path, screen, '--startstreaming')
    try:
        health = matinee.until(lambda: (server.event(event)['health'] or {}).get('fps', 0) > 20 and server.event(event)['health'],
                               40, 'pictures from OBS')
        assert health['videoCodec'] == 'H.264' and health['audioCodec'] == 'AAC' and health['width'] == 640
        video = server.video(event)
        matinee.until(lambda: server.json(f'/api/v1/videos/{video}')['segments'] >= 1, 40, 'a segment')
        publisher.send_signal(signal.SIGINT)
    finally:
        matinee.end_process(publisher)
    server.end(event)
    frames, warnings = matinee.count_frames(f'{server.http}/v/{video}/master.m3u8')
    assert frames['h264'] > 60 and frames['aac'] > 90 and warnings == '', (frames, warnings)
