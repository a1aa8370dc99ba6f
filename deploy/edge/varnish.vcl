# An edge in front of matinee: Varnish that keeps one copy of everything for all viewers, and lets in to ticketed shows only who has
# a ticket. Debian 12's Varnish, as it is packaged; it speaks no TLS, so put nginx or hitch in front of it:
#
#     varnishd -a 127.0.0.1:6081 -f /etc/varnish/matinee.vcl -s malloc,2g -p thread_pool_max=5000
#
# What nginx cannot do: a segment that still grows is shared by all who follow it, so low-latency DASH is one request, too; and who
# waits for a part is woken when it is there, and not at the next half second. docs/edge.md says what each rule is for.
vcl 4.1;

import std;

# 1. Where matinee is, or the shield in front of it.
backend origin {
    .host = "127.0.0.1";
    .port = "8080";
    .connect_timeout = 5s;
    .first_byte_timeout = 40s; # a request for what is not there yet waits for 30 s at most
    .between_bytes_timeout = 40s;
}

# 2. The same as `matinee serve --edge-key`, twice: long, random, and nobody else's. An edge behind this one shows it, too.
sub edge_key {
    set bereq.http.Matinee-Edge = "change-me";
}
sub edge_behind {
    if (req.http.Matinee-Edge != "change-me") {
        unset req.http.Matinee-Edge;
    }
}

# 3. Who may purge: BAN / with Surrogate-Key: video-ID.
acl purgers {
    "127.0.0.1";
    "::1";
}

# --- requests -------------------------------------------------------------------------------------------------------

sub vcl_recv {
    if (req.restarts == 0) {
        unset req.http.Edge-Step;
        unset req.http.Edge-Url;
        unset req.http.Edge-Token;
        unset req.http.Edge-Access;
        unset req.http.Edge-Given;
        call read_token;
        call edge_behind;
    }
    if (req.method == "BAN") {
        if (client.ip !~ purgers) {
            return (synth(403, "Not from here"));
        }
        if (req.http.Surrogate-Key !~ "^(video|event)-[0-9A-Z]{26}$") {
            return (synth(400, "Surrogate-Key wants video-ID or event-ID"));
        }
        ban("obj.http.Surrogate-Key ~ " + req.http.Surrogate-Key);
        return (synth(200, "Banned"));
    }
    if (req.http.Edge-Step == "refused" || (req.method != "GET" && req.method != "HEAD")) {
        return (pass);
    }
    if (req.url ~ "^/api/v1/videos/[0-9A-Z]{26}/admission(\?|$)") {
        set req.http.Edge-Step = "asked"; # by an edge behind this one
        return (hash);
    }
    if (req.url !~ "^/v/[0-9A-Z]{26}/([\w-]+/)?[\w.-]+\.(m3u8|mpd|m4s|mp4)(\?|$)" &&
        req.url !~ "^/api/v1/videos/[0-9A-Z]{26}/(data|thumbnails\.vtt|thumbnails/\d+\.jpg|comments/windows/\d+)(\?|$)") {
        return (pass);
    }
    if (req.http.Edge-Step != "admitted") {
        set req.http.Edge-Step = "asking";
        set req.http.Edge-Url = req.url;
        set req.url = regsub(req.url, "^/(?:v|api/v1/videos)/([0-9A-Z]{26})/.*", "/api/v1/videos/\1/admission");
        return (hash);
    }
    call strip_query;
    return (hash);
}

# A viewer's token, wherever it stands. It is part of the question whether he may watch, and of no other key.
sub read_token {
    if (req.url ~ "[?&]token=") {
        set req.http.Edge-Given = regsub(req.url, "^.*[?&]token=([^&]*).*$", "\1");
    }
    if (req.http.Cookie ~ "(^|;\s*)matinee-ticket=") {
        set req.http.Edge-Token = regsub(req.http.Cookie, "^(?:.*;)?\s*matinee-ticket=([^;]*).*$", "\1");
    }
    set req.http.Edge-Token = req.http.Authorization + "|" + req.http.Edge-Given + "|" + req.http.Edge-Token;
}

# Of the query what low-latency players and getVideoData ask for, in one order; nothing else.
sub strip_query {
    set req.http.Edge-Query = "";
    if (req.url ~ "\.m3u8\?") {
        if (req.url ~ "[?&]_HLS_msn=") {
            set req.http.Edge-Query = req.http.Edge-Query + "&_HLS_msn=" + regsub(req.url, "^.*[?&]_HLS_msn=([^&]*).*$", "\1");
        }
        if (req.url ~ "[?&]_HLS_part=") {
            set req.http.Edge-Query = req.http.Edge-Query + "&_HLS_part=" + regsub(req.url, "^.*[?&]_HLS_part=([^&]*).*$", "\1");
        }
        if (req.url ~ "[?&]_HLS_skip=") {
            set req.http.Edge-Query = req.http.Edge-Query + "&_HLS_skip=" + regsub(req.url, "^.*[?&]_HLS_skip=([^&]*).*$", "\1");
        }
    }
    if (req.url ~ "^/api/.*/data\?") {
        if (req.url ~ "[?&]device=") {
            set req.http.Edge-Query = req.http.Edge-Query + "&device=" + regsub(req.url, "^.*[?&]device=([^&]*).*$", "\1");
        }
        if (req.url ~ "[?&]rendition=") {
            set req.http.Edge-Query = req.http.Edge-Query + "&rendition=" + regsub(req.url, "^.*[?&]rendition=([^&]*).*$", "\1");
        }
        if (req.url ~ "[?&]offset=") {
            set req.http.Edge-Query = req.http.Edge-Query + "&offset=" + regsub(req.url, "^.*[?&]offset=([^&]*).*$", "\1");
        }
        if (req.url ~ "[?&]format=") {
            set req.http.Edge-Query = req.http.Edge-Query + "&format=" + regsub(req.url, "^.*[?&]format=([^&]*).*$", "\1");
        }
    }
    set req.url = regsub(req.url, "\?.*$", "") + regsub(req.http.Edge-Query, "^&", "?");
    unset req.http.Edge-Query;
}

# One copy whatever name we are called by: matinee prints no host into what is kept.
sub vcl_hash {
    hash_data(regsub(req.url, "^(/api/v1/videos/[0-9A-Z]{26}/admission).*$", "\1"));
    if (req.http.Edge-Step == "asking" || req.http.Edge-Step == "asked") {
        hash_data(req.http.Edge-Token);
    }
    return (lookup);
}

# --- the origin -----------------------------------------------------------------------------------------------------

sub vcl_backend_fetch {
    # The query is gone from the URL; the origin still wants to see the token.
    if (bereq.http.Edge-Given && !bereq.http.Authorization) {
        set bereq.http.Authorization = "Bearer " + bereq.http.Edge-Given;
    }
    call edge_key;
    unset bereq.http.Edge-Step;
    unset bereq.http.Edge-Url;
    unset bereq.http.Edge-Token;
    unset bereq.http.Edge-Access;
    unset bereq.http.Edge-Given;
    return (fetch);
}

sub vcl_backend_response {
    set beresp.grace = 0s;
    set beresp.keep = 0s;
    if (beresp.status != 200 && beresp.status != 204 && beresp.status != 304) {
        set beresp.uncacheable = true;
        set beresp.ttl = 0s;
        return (deliver);
    }
    if (bereq.url !~ "/admission(\?|$)" && beresp.http.Cache-Control ~ "private|no-store|no-cache") {
        set beresp.uncacheable = true;
        set beresp.ttl = 1s;
        return (deliver);
    }
    # The last copy while a newer one is fetched: for as long as the origin says.
    if (beresp.http.Cache-Control ~ "stale-while-revalidate=\d+") {
        set beresp.grace = std.duration(regsub(beresp.http.Cache-Control, "^.*stale-while-revalidate=(\d+).*$", "\1s"), 0s);
    }
    return (deliver);
}

# --- answers --------------------------------------------------------------------------------------------------------

sub vcl_deliver {
    if (req.http.Edge-Step == "asking") {
        set req.url = req.http.Edge-Url;
        if (resp.status == 204) {
            set req.http.Edge-Step = "admitted";
            set req.http.Edge-Access = resp.http.Matinee-Access;
        } else {
            set req.http.Edge-Step = "refused"; # the origin says why
        }
        return (restart);
    }
    # What the origin lets an edge keep is the viewer's own again when it leaves us, and stale-while-revalidate is not for browsers.
    # Another edge is told what we were told.
    if (!req.http.Matinee-Edge && resp.http.Cache-Control) {
        set resp.http.Cache-Control = regsub(resp.http.Cache-Control, ", stale-while-revalidate=\d+$", "");
        if (resp.http.Matinee-Access == "ticket") {
            set resp.http.Cache-Control = regsub(resp.http.Cache-Control, "^public", "private");
        }
    }
    if (req.http.Edge-Step == "admitted" && req.http.Edge-Given && req.url ~ "^/v/") {
        set resp.http.Set-Cookie = "matinee-ticket=" + req.http.Edge-Given + "; Path=" +
            regsub(req.url, "^(/v/[0-9A-Z]{26}/).*$", "\1") + "; Max-Age=600; HttpOnly; SameSite=Lax";
    }
    if (obj.hits > 0) {
        set resp.http.X-Cache = "HIT";
    } else {
        set resp.http.X-Cache = "MISS";
    }
    unset resp.http.Via;
    unset resp.http.X-Varnish;
}
