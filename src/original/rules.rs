//! A line for each key of the original: what takes it up, what it is here, or why there is nothing.

use super::writer::{Scope, Writer};
use super::{acceptors, applications, remote};
use crate::lua::Value;

/// What becomes of a key.
pub(super) enum Rule {
    /// It is looked at with others.
    Read,
    /// It has another form here, or goes without saying.
    Otherwise(&'static str),
    /// There is nothing of the kind.
    Without(&'static str),
    /// This takes it up.
    Take(fn(&mut Writer<'_>, &Value, &str, &Scope)),
}

use Rule::{Otherwise, Read, Take, Without};

const PLUGIN: &str = "applications are no shared libraries here, there is nothing to load";
const INDEX: &str = "an index of each file is made by itself, and kept over a restart with files.cache_dir (docs/files.md)";
const BUFFER: &str = "a viewer that is late is led on to the newest key frame, whole pictures at a time (relay.log_bytes)";
const LOG: &str =
    "one event is one line on standard error, which journald takes up with its fields";
const LOG_FILE: &str =
    "the log goes to standard error; journald, or what starts the server, keeps and turns files";
const STRESS: &str = "`crtmpserver stress` loads a server with viewers and publishers";
const OWN_LUA: &str = "applications of one's own, in Lua too, are not here";
const ALWAYS: &str = "a connection that breaks is made again, for ever";
const LIVE_ALONE: &str = "what is live is pulled, from now on";
const RTP: &str = "nothing is played over RTSP here; encoders and cameras are taken";

/// The table `configuration`.
pub(super) const TOP: &[(&str, Rule)] = &[
    (
        "daemon",
        Otherwise(
            "it stays in the foreground; systemd, rc.d or a container keeps it in the background",
        ),
    ),
    (
        "pathSeparator",
        Otherwise("nothing reads it, here as in the original"),
    ),
    (
        "instancesCount",
        Otherwise("one process serves on all cores (server.threads)"),
    ),
    ("logAppenders", Take(applications::log_appenders)),
    ("applications", Take(applications::applications)),
];

/// One of `logAppenders`.
pub(super) const LOG_APPENDER: &[(&str, Rule)] = &[
    ("name", Otherwise(LOG)),
    ("type", Otherwise(LOG)),
    ("level", Take(applications::log_level)),
    ("singleLine", Otherwise(LOG)),
    (
        "specificLevel",
        Without("the log has its level and whatever is worse, not one level alone"),
    ),
    ("fileName", Otherwise(LOG_FILE)),
    ("newLineCharacters", Otherwise(LOG_FILE)),
    ("fileHistorySize", Otherwise(LOG_FILE)),
    ("fileLength", Otherwise(LOG_FILE)),
];

/// An application.
pub(super) const APPLICATION: &[(&str, Rule)] = &[
    ("name", Read),
    ("description", Otherwise("a comment does as well")),
    ("protocol", Otherwise(PLUGIN)),
    ("library", Otherwise(PLUGIN)),
    ("appDir", Read),
    ("initApplicationFunction", Otherwise(PLUGIN)),
    ("initFactoryFunction", Otherwise(PLUGIN)),
    (
        "default",
        Otherwise("without effect, here as in the original: whoever connects names an application"),
    ),
    ("aliases", Take(applications::aliases)),
    (
        "validateHandshake",
        Otherwise("every RTMP handshake is answered in its own form"),
    ),
    ("acceptors", Take(acceptors::acceptors)),
    ("mediaFolder", Take(applications::media_folder)),
    ("mediaStorage", Take(applications::media_storage)),
    ("externalStreams", Take(remote::pulls)),
    ("authentication", Take(applications::authentication)),
    ("rtcpDetectionInterval", Without(RTP)),
    (
        "hasStreamAliases",
        Without(
            "streams have the name that they are published under; a secret key can stand for it (docs/publishing.md)",
        ),
    ),
    (
        "enableCheckBandwidth",
        Without("nothing measures a player's bandwidth"),
    ),
    ("maxRtmpOutBuffer", Otherwise(BUFFER)),
    ("maxRtspOutBuffer", Without(RTP)),
    ("keyframeSeek", Take(applications::keyframe_seek)),
    (
        "seekGranularity",
        Otherwise("a seek is as fine as the file's frames (files.seek)"),
    ),
    ("clientSideBuffer", Take(applications::client_side_buffer)),
    ("generateMetaFiles", Otherwise(INDEX)),
    (
        "renameBadFiles",
        Otherwise("a file that cannot be played is told in the log, and keeps its name"),
    ),
    ("externSeekGenerator", Otherwise(INDEX)),
    (
        "allowDuplicateInboundNetworkStreams",
        Take(applications::takeover),
    ),
    (
        "abortOnConnectError",
        Otherwise("a push that fails is tried again, and its source goes on"),
    ),
    ("targetServers", Take(remote::pushes)),
    ("targetServer", Without(STRESS)),
    ("targetApp", Without(STRESS)),
    ("streams", Without(STRESS)),
    ("numberOfConnections", Without(STRESS)),
    ("randomAccessStreams", Without(STRESS)),
    ("active", Without(STRESS)),
    ("vmType", Without(OWN_LUA)),
    ("script", Without(OWN_LUA)),
];

/// One of `externalStreams`.
pub(super) const EXTERNAL_STREAM: &[(&str, Rule)] = &[
    ("uri", Read),
    ("localStreamName", Read),
    ("tcUrl", Read),
    ("pageUrl", Read),
    ("swfUrl", Read),
    ("emulateUserAgent", Read),
    ("keepAlive", Otherwise(ALWAYS)),
    ("rangeStart", Otherwise(LIVE_ALONE)),
    ("rangeEnd", Otherwise(LIVE_ALONE)),
    (
        "forceTcp",
        Otherwise("all is over TCP; transport = \"udp\" asks a source of RTSP for datagrams"),
    ),
    (
        "ttl",
        Otherwise("without effect over TCP, here as in the original"),
    ),
    (
        "tos",
        Otherwise("without effect over TCP, here as in the original"),
    ),
    (
        "httpProxy",
        Without("connections go straight to their servers"),
    ),
    (
        "rtcpDetectionInterval",
        Otherwise("says nothing to RTMP; over RTSP reports are taken when they come"),
    ),
    (
        "rtmpAbsoluteTimestamps",
        Otherwise("every message has its own time"),
    ),
];

/// One of `targetServers`.
pub(super) const TARGET_SERVER: &[(&str, Rule)] = &[
    ("targetUri", Read),
    ("localStreamName", Read),
    ("targetStreamName", Read),
    ("targetStreamType", Read),
    ("tcUrl", Read),
    ("pageUrl", Read),
    ("swfUrl", Read),
    ("emulateUserAgent", Read),
    ("keepAlive", Otherwise(ALWAYS)),
    (
        "rtmpAbsoluteTimestamps",
        Otherwise("every message has its own time"),
    ),
];

/// One of `mediaStorage`.
pub(super) const STORAGE: &[(&str, Rule)] = &[
    ("mediaFolder", Take(applications::media_folder)),
    ("metaFolder", Otherwise(INDEX)),
    ("description", Otherwise("a comment does as well")),
    (
        "enableStats",
        Without("what of each file was sent is not counted"),
    ),
    ("keyframeSeek", Take(applications::keyframe_seek)),
    ("clientSideBuffer", Take(applications::client_side_buffer)),
    (
        "seekGranularity",
        Otherwise("a seek is as fine as the file's frames (files.seek)"),
    ),
    ("externalSeekGenerator", Otherwise(INDEX)),
];

/// `authentication`.
pub(super) const AUTHENTICATION: &[(&str, Rule)] = &[
    ("rtmp", Take(applications::login_rtmp)),
    (
        "rtsp",
        Without(
            "encoders over RTSP have no login: networks of [[listen.rtsp]] says who may send, or a stream key does",
        ),
    ),
];

/// `authentication.rtmp`.
pub(super) const LOGIN_RTMP: &[(&str, Rule)] = &[
    ("type", Take(applications::login_type)),
    (
        "encoderAgents",
        Otherwise(
            "whoever says that it publishes is asked for its login, whatever it calls itself",
        ),
    ),
    ("usersFile", Take(applications::users_file)),
];

/// An acceptor of RTMP or HTTP.
pub(super) const ACCEPTOR: &[(&str, Rule)] = &[
    ("ip", Read),
    ("port", Read),
    ("protocol", Read),
    ("sslKey", Take(acceptors::key)),
    ("sslCert", Take(acceptors::certificate)),
    (
        "cipherSuite",
        Otherwise("TLS 1.2 and 1.3 with the ciphers that are good today"),
    ),
    ("localStreamName", Without("says nothing to this protocol")),
    ("waitForMetadata", Without("says nothing to this protocol")),
    ("useLengthPadding", Without("says nothing to this protocol")),
    (
        "crossDomainFile",
        Without("there is no Flash that would ask for it; pages of any origin may watch over HTTP"),
    ),
];

/// An acceptor of encoders that speak no RTMP.
pub(super) const ENCODERS: &[(&str, Rule)] = &[
    ("ip", Read),
    ("port", Read),
    ("protocol", Read),
    ("localStreamName", Read),
    ("waitForMetadata", Read),
];

/// The acceptor of the command line.
pub(super) const COMMAND_LINE: &[(&str, Rule)] = &[
    ("ip", Read),
    ("port", Read),
    ("protocol", Read),
    (
        "useLengthPadding",
        Without("no length is in front of an answer here; an empty line ends it, as ever"),
    ),
];

/// What becomes of an acceptor.
pub(super) enum Way {
    /// It listens as this key says.
    Listen(&'static str),
    /// An encoder is taken there without a login, as a table of this key says; what its address begins with.
    Takes(&'static str, &'static str),
    /// The command line is there.
    CommandLine,
    /// Something else answers there, as this key says; why.
    Instead(&'static str, &'static str),
    /// Nothing does; why.
    Nothing(&'static str),
}

const RPC: &str = "calls of one's own over HTTP or TCP are not here; `crtmpserver status --json` tells what goes on";
const SAMPLE: &str = "was a sample of protocols of one's own, which are not here";

/// The protocols of acceptors.
pub(super) const PROTOCOLS: &[(&str, Way)] = &[
    ("inboundRtmp", Way::Listen("listen.rtmp")),
    ("inboundRtmps", Way::Listen("listen.rtmps")),
    (
        "inboundRtmpt",
        Way::Instead(
            "listen.http",
            "RTMPT is not here; HTTP answers on its port: pages, HTTP-FLV, HLS",
        ),
    ),
    ("inboundLiveFlv", Way::Takes("listen.liveflv", "")),
    ("inboundTcpTs", Way::Takes("listen.ts", "tcp://")),
    ("inboundUdpTs", Way::Takes("listen.ts", "udp://")),
    ("inboundRtsp", Way::Takes("listen.rtsp", "")),
    ("inboundJsonCli", Way::CommandLine),
    (
        "inboundHttpJsonCli",
        Way::Nothing(
            "the verbs are not had over HTTP, by which any web page could send them; `crtmpserver ctl` and listen.cli have them (docs/verbs.md)",
        ),
    ),
    ("inboundXmlVariant", Way::Nothing(RPC)),
    ("inboundBinVariant", Way::Nothing(RPC)),
    ("inboundJsonVariant", Way::Nothing(RPC)),
    ("inboundHttpXmlVariant", Way::Nothing(RPC)),
    ("inboundHttpBinVariant", Way::Nothing(RPC)),
    ("inboundHttpJsonVariant", Way::Nothing(RPC)),
    ("inboundHttpsXmlVariant", Way::Nothing(RPC)),
    ("inboundHttpsBinVariant", Way::Nothing(RPC)),
    ("inboundHttpsJsonVariant", Way::Nothing(RPC)),
    ("echoProtocol", Way::Nothing(SAMPLE)),
    ("httpEchoProtocol", Way::Nothing(SAMPLE)),
    ("httpDownload", Way::Nothing(SAMPLE)),
    (
        "inboundRawHttpStream",
        Way::Nothing("HTTP-FLV is on every HTTP port: http://HOST/APPLICATION/STREAM.flv"),
    ),
];

/// What becomes of an application that the original came with.
pub(super) enum Part {
    /// It has no streams; its acceptors are those of the whole server.
    Acceptors,
    /// It takes and plays streams.
    Streams,
    /// It is not here; why.
    Nothing(&'static str),
}

/// The applications that the original came with.
pub(super) const PARTS: &[(&str, Part)] = &[
    ("appselector", Part::Acceptors),
    ("admin", Part::Acceptors),
    ("flvplayback", Part::Streams),
    ("proxypublish", Part::Streams),
    ("samplefactory", Part::Nothing(SAMPLE)),
    (
        "vptests",
        Part::Nothing("was a test of calls of one's own, which are not here"),
    ),
    ("stresstest", Part::Nothing(STRESS)),
    (
        "applestreamingclient",
        Part::Nothing("playing other servers' HLS is not here"),
    ),
    ("vmapp", Part::Nothing(OWN_LUA)),
];
