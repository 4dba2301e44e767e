//! Every bound that a peer can meet, in one place, with its reason.
//!
//! Two rules stand above the numbers: memory and time grow only with bytes that really arrived,
//! never with a number that a peer wrote; and every loop consumes input or ends. A limit that an
//! operator may need to move is a field of [`Limits`] (the `[limits]` table of the configuration);
//! a limit that only a hostile or broken peer can meet is a constant.

use std::time::Duration;

/// The limits that the configuration can move. `Default` is what is documented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections in all; also bounded by the descriptor limit of the process less
    /// [`RESERVED_DESCRIPTORS`]. Viewers cannot take the last ones ([`RESERVED_CONNECTIONS`]).
    pub max_connections: usize,
    /// Connections from one address (one /64 in IPv6) that have not finished their login. Playing
    /// viewers do not count: a thousand may share one address.
    pub max_pending_per_address: usize,
    /// Connections in all that have not finished their login.
    pub max_pending: usize,
    /// Handshake, counted from accept, whatever drips in.
    pub handshake_timeout: Duration,
    /// `connect`, counted from the end of the handshake.
    pub connect_timeout: Duration,
    /// First `play` or `publish`, counted from `connect`.
    pub idle_timeout: Duration,
    /// A publisher that sends no media.
    pub publish_timeout: Duration,
    /// A ping is sent after this long without a byte from the peer.
    pub ping_after: Duration,
    /// A peer that answers nothing, not even the ping, is closed after this long.
    pub silence_timeout: Duration,
    /// A viewer that accepts no byte although there are some to send, or not the rest of a frame.
    pub send_timeout: Duration,
    /// The smallest chunk size a peer may set. Smaller ones cost more header than payload; 1 is
    /// legal and can be allowed.
    pub min_chunk_size: u32,
    /// Largest audio message, bytes.
    pub max_audio: usize,
    /// Largest video or aggregate message, bytes.
    pub max_video: usize,
    /// Streams in the hub at once, waiting ones included.
    pub max_streams: usize,
    /// Viewers at once; the next one is sent to another host. Who watches already stays.
    pub max_viewers: Option<u32>,
    /// What may go out, Mbit/s, before the next viewer is sent to another host.
    pub max_mbit_s: Option<u32>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 16_384,
            max_pending_per_address: 64,
            max_pending: 1024,
            handshake_timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(30),
            publish_timeout: Duration::from_secs(30),
            ping_after: Duration::from_secs(30),
            silence_timeout: Duration::from_secs(60),
            send_timeout: Duration::from_secs(20),
            min_chunk_size: 128,
            max_audio: 1 << 20,
            max_video: 8 << 20,
            max_streams: 1000,
            max_viewers: None,
            max_mbit_s: None,
        }
    }
}

/// Descriptors kept free for files, the control side and the spare one of the accept loop.
pub const RESERVED_DESCRIPTORS: usize = 128;
/// Of `limits.max_connections`, those that no viewer may have, so that an encoder or a mirror comes in and
/// `/healthz` answers when viewers have all others; an eighth of it where that is less.
pub const RESERVED_CONNECTIONS: usize = 64;
/// The server does not start when its descriptors leave room for fewer connections than this, unless
/// `limits.max_connections` asks for no more.
pub const MIN_CONNECTIONS: usize = 16;

/// Any message before `connect` was answered: a `connect` with every field there is has under 4 KiB.
pub const MAX_MESSAGE_BEFORE_CONNECT: usize = 32 * 1024;
/// A command or shared object message.
pub const MAX_COMMAND: usize = 64 * 1024;
/// A data message (`onMetaData`, cue points).
pub const MAX_DATA: usize = 256 * 1024;
/// A control message has 4 to 6 bytes; user control with an unknown event may have a few more.
pub const MAX_CONTROL: usize = 64;
/// Chunk streams on one connection. Encoders use 3 to 6, a server with many streams some dozens.
pub const MAX_CHUNK_STREAMS: usize = 64;
/// Partial messages of one connection together, beyond the largest single message, when it publishes.
pub const REASSEMBLY_SLACK: usize = 1 << 20;
/// Partial messages together for a connection that does not publish.
pub const MAX_REASSEMBLY_IDLE: usize = 128 * 1024;
/// Partial messages of all connections together. Above it, connections that show no credentials and
/// still grow are closed.
pub const MAX_REASSEMBLY_TOTAL: usize = 256 << 20;
/// The specification's largest chunk size (a message cannot be longer, RTMP 1.0 section 5.4.1).
pub const MAX_CHUNK_SIZE: u32 = 0x00ff_ffff;
/// First size of the buffer of a partial message; it doubles with what arrives. For all chunk streams
/// together 64 KiB, which is all that a peer can make us hold beyond twice of what it sent.
pub const REASSEMBLY_START: usize = 1024;
/// Header bytes for each byte of payload, over [`OVERHEAD_WINDOW`]. Chunks of one byte have 1 to 3, and
/// an acknowledgement with everything spelled out has 3.
pub const MAX_CHUNK_OVERHEAD: usize = 4;
/// Bytes of a chunk stream over which [`MAX_CHUNK_OVERHEAD`] is looked at.
pub const OVERHEAD_WINDOW: usize = 64 * 1024;
/// Message streams on one connection.
pub const MAX_MESSAGE_STREAMS: usize = 16;
/// Sub-messages of one aggregate.
pub const MAX_AGGREGATE_PARTS: usize = 4096;
/// The smallest acknowledgement interval that is honoured: answers stay under 1/8 of what arrives.
pub const MIN_ACK_INTERVAL: u32 = 64 * 1024;
/// The acknowledgement interval until the peer names a window; what crtmpserver always used.
pub const ACK_INTERVAL: u64 = 128 * 1024;
/// Pings of a peer that come faster than this are not answered.
pub const PING_ANSWER_INTERVAL: Duration = Duration::from_millis(100);
/// The time over which [`MAX_FLOOD_MESSAGES`] and [`MAX_FLOOD_BYTES`] are counted.
pub const FLOOD_WINDOW: Duration = Duration::from_secs(10);
/// Messages that are no media of a stream that is published, within [`FLOOD_WINDOW`]: requests, pings,
/// acknowledgements. A player or an encoder begins with some 10 and then sends one now and then; what
/// is late on its way behind the end of a stream has 100 a second for [`LATE_MEDIA`].
pub const MAX_FLOOD_MESSAGES: u64 = 2000;
/// Bytes from a peer that does not publish, within [`FLOOD_WINDOW`]: an encoder at 24 Mbit/s that has
/// yet to hear of the end of its stream sends 15 MiB in [`LATE_MEDIA`].
pub const MAX_FLOOD_BYTES: usize = 16 << 20;
/// Audio and video on a message stream whose publishing just ended are dropped for this long, as they
/// were on their way; after it they end the connection.
pub const LATE_MEDIA: Duration = Duration::from_secs(5);
/// Input that a machine holds while its driver decides (`connect`, `publish`): one turn of reading and
/// as much again, so that a turn that begins with the question fits.
pub const MAX_SESSION_INPUT: usize = 2 * READ_TURN;
/// Calls of a client machine that await their answers.
pub const MAX_PENDING_CALLS: usize = 64;
/// `FourCC`s of one medium that a peer may declare; eleven exist.
pub const MAX_FOURCCS: usize = 32;
/// Control replies that wait for a connection's socket. When it is full the peer is not read.
pub const MAX_CONTROL_QUEUE: usize = 64 * 1024;
/// A connection with more control bytes than this is closed: one turn of reading
/// ([`READ_TURN`]) cannot make them, as answers stay under 1/8 of what arrives.
pub const MAX_CONTROL_BACKLOG: usize = 4 * MAX_CONTROL_QUEUE;

/// Objects and arrays inside each other, AMF0 and AMF3 together. Real commands nest 3 deep.
pub const AMF_MAX_DEPTH: usize = 32;
/// Values in one message.
pub const AMF_MAX_VALUES: usize = 4096;
/// Keys in one object.
pub const AMF_MAX_KEYS: usize = 1024;
/// Bytes of text in one message after decoding. A message itself has less ([`MAX_DATA`]), but a
/// reference repeats a text for two bytes.
pub const AMF_MAX_BYTES: usize = 1 << 20;

/// `ModEx` prefixes in front of one tag (Enhanced RTMP v2).
pub const MAX_MODEX: usize = 8;
/// Tracks in one multitrack tag, and cached sequence headers per kind.
pub const MAX_TRACKS: usize = 16;
/// A video parameter set that is looked into (for status pages only); real ones have under 100 bytes.
pub const MAX_SPS: usize = 4096;
/// Parameter sets of one kind that an encoder's stream may have; one is the rule.
pub const MAX_PARAMETER_SETS: usize = 16;
/// A table of an MPEG transport stream, bytes: what ISO/IEC 13818-1 allows for the two that are read.
pub const MAX_TS_SECTION: usize = 1024;
/// Streams of one programme of an MPEG transport stream that are looked at.
pub const MAX_TS_STREAMS: usize = 32;
/// Packets of Opus in one PES packet: more than a second.
pub const MAX_OPUS_PACKETS: usize = 64;
/// The head of an RTSP request or answer, bytes.
pub const MAX_RTSP_HEAD: usize = 8 * 1024;
/// Header fields of an RTSP request or answer.
pub const MAX_RTSP_HEADERS: usize = 64;
/// The body of an RTSP request or answer, bytes: a description of media has some hundred.
pub const MAX_RTSP_BODY: usize = 32 * 1024;
/// Media of one RTSP session that are looked at.
pub const MAX_RTSP_TRACKS: usize = 8;
/// Units of one picture that comes in RTP.
pub const MAX_NAL_UNITS: usize = 1024;
/// How much of a source without headers of its own is held back until each of its tracks has shown what it is,
pub const MAX_OPENING: Duration = Duration::from_secs(1);
/// and how many tags of it.
pub const MAX_OPENING_TAGS: usize = 128;
/// Frames of AAC in one packet of RTP.
pub const MAX_AAC_UNITS: usize = 128;
/// How long an RTSP session is kept without a request, where the server says nothing of it.
pub const RTSP_SESSION: Duration = Duration::from_secs(60);
/// The name of a session that another server of RTSP gives, bytes.
pub const MAX_RTSP_SESSION: usize = 256;
/// Another server's session is asked to go on at half of the time that it is kept, but no sooner than this,
pub const RTSP_ALIVE_SOONEST: Duration = Duration::from_secs(1);
/// and no later than this.
pub const RTSP_ALIVE_LATEST: Duration = Duration::from_secs(30);
/// The longest datagram of RTP that is taken, bytes: more than any network carries.
pub const MAX_RTP: usize = 16 * 1024;
/// A source of datagrams that sends none for this long is gone: there is no connection to be closed.
pub const DATAGRAM_SILENCE: Duration = Duration::from_secs(5);
/// A source of datagrams that an operator ended is not listened to for this long: nobody can tell it.
pub const DATAGRAM_PAUSE: Duration = Duration::from_secs(30);
/// What the kernel is asked to keep of datagrams that are not read yet, bytes: a second at 16 Mbit/s.
pub const DATAGRAM_BUFFER: usize = 2 << 20;
/// Tables of `[[listen.liveflv]]`, `[[listen.ts]]` and `[[listen.rtsp]]` together.
pub const MAX_WAYS: usize = 256;
/// Bytes between an FLV file header and its first tag; the header has said 9 since version 1.
pub const MAX_FLV_HEADER: u32 = 1024;
/// One cached sequence header or metadata frame; a larger one is relayed but not cached.
pub const MAX_CACHED_HEADER: usize = 256 * 1024;

/// Application and stream names, bytes.
pub const MAX_NAME: usize = 255;
/// Segments of a name, split at '/'.
pub const MAX_NAME_SEGMENTS: usize = 8;
/// The query behind a name.
pub const MAX_QUERY: usize = 2048;

/// A frame's time that jumps further than this, either way, begins a new timeline, ms.
pub const MAX_TIME_JUMP: u64 = 10_000;

/// Head of an HTTP request, bytes, and its header fields.
pub const MAX_HTTP_HEAD: usize = 16 * 1024;
/// Header fields of an HTTP request.
pub const MAX_HTTP_HEADERS: usize = 64;
/// The head of an HTTP request, counted from accept (or from the end of the answer before it).
pub const HTTP_HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// An HTTP connection between two requests.
pub const HTTP_KEEP_ALIVE: Duration = Duration::from_secs(30);
/// An HTTP connection in all, however many requests it brings (a stream that is watched is none).
pub const HTTP_LIFETIME: Duration = Duration::from_secs(600);
/// An answer that is on its way when that time is over: so much longer, and it is the last one.
pub const HTTP_LAST_ANSWER: Duration = Duration::from_secs(60);
/// The last bytes of an answer, and the peer's close behind them; the rest of one that is on its way when
/// the server stops.
pub const HTTP_FAREWELL: Duration = Duration::from_secs(2);
/// A viewer's socket that takes nothing for so long when the server stops is closed: who waits for the
/// next start does not wait for one that is stuck.
pub const STOP_STALL: Duration = Duration::from_secs(1);

/// Pending connections in the kernel for one listener; a storm of reconnecting viewers fits.
pub const LISTEN_BACKLOG: i32 = 1024;
/// New connections that wait for one shard; the accept loop waits when it is full.
pub const SHARD_QUEUE: usize = 1024;
/// The read buffer that all connections of a shard share.
pub const READ_BUFFER: usize = 64 * 1024;
/// The accept loop's rest after an error such as "too many open files".
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Refused connections and accept errors are logged at most this often.
pub const REFUSAL_LOG: Duration = Duration::from_secs(10);
/// A keepalive probe is sent after this long without a byte, and then this often.
pub const KEEPALIVE_AFTER: Duration = Duration::from_secs(15);
/// See [`KEEPALIVE_AFTER`].
pub const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
/// The longest time that frames collect before they are written: longer saves next to nothing.
pub const MAX_MERGE: Duration = Duration::from_millis(350);
/// Bytes read from one socket before the others get their turn.
pub const READ_TURN: usize = 256 * 1024;
/// Unsent bytes in the kernel for a viewer (`TCP_NOTSENT_LOWAT`).
pub const NOTSENT_LOWAT: u32 = 128 * 1024;
/// Bytes of a peer's text in one log field.
pub const MAX_LOG_FIELD: usize = 128;
/// A sentence of the server that `status` and `ctl` show, bytes: what a peer said is a part of it at most.
pub const MAX_SHOWN_SENTENCE: usize = 1024;

/// Mirrors connected to one master at once, and hosts in the table of a cluster; one more is refused.
pub const MAX_MIRRORS: usize = 4096;
/// Mirrors with figures of their own on the page of metrics; the sums count all.
pub const MAX_MIRRORS_MEASURED: usize = 500;
/// News of the hosts that are kept for mirrors that have not taken them yet, bytes; one that is farther
/// behind is told the whole list again.
pub const MAX_HOST_NEWS: usize = 1 << 20;
/// How long the cloud may take to tell a mirror its public address.
pub const METADATA_TIMEOUT: Duration = Duration::from_secs(1);
/// An answer of the cloud's metadata service, bytes; an address has at most 39.
pub const MAX_METADATA: usize = 4 * 1024;
/// How long viewers may take to move when nobody says otherwise.
pub const DRAIN_TIME: Duration = Duration::from_secs(5 * 60);
/// The longest drain: whoever means more means to wait for the end of the event.
pub const MAX_DRAIN: Duration = Duration::from_secs(24 * 60 * 60);

/// The mirrors' shared secret, bytes: 16 bytes of anything less than random are guessed.
pub const MIN_SECRET: usize = 16;
/// Bytes of TLS that wait for one socket, beside what the kernel holds.
pub const TLS_BACKLOG: usize = 32 * 1024;
/// The mirrors' shared secret, bytes.
pub const MAX_SECRET: usize = 1024;
/// A file of users, or of a secret, bytes: about 10 000 users.
pub const MAX_USERS_FILE: usize = 1 << 20;
/// A user's name, bytes.
pub const MAX_USER: usize = 64;
/// How long a challenge of a login can be answered.
pub const CHALLENGE_LIFETIME: Duration = Duration::from_secs(30);
/// Challenges that were answered rightly and could still be replayed. It takes a right password to
/// fill it; when it is full, logins wait for the oldest to expire.
pub const MAX_SPENT_CHALLENGES: usize = 4096;
/// Failed logins from one address (one /64 in IPv6) as one user that cost nothing: people mistype.
pub const FREE_LOGIN_FAILURES: u32 = 5;
/// The longest pause between two tries after failed logins; it begins with 1 s and doubles.
pub const MAX_LOGIN_PAUSE: Duration = Duration::from_secs(60);
/// Pairs of address and user whose failures are remembered; the oldest makes room.
pub const MAX_LOGIN_FAILURES: usize = 4096;
/// Addresses (a /64 in IPv6) at which encoders logged in, where stream keys are used too; the oldest makes room.
pub const MAX_LOGIN_SITES: usize = 1024;
/// How long such an address is remembered.
pub const LOGIN_MEMORY: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// Stream keys in one file; each is compared with every name that somebody publishes.
pub const MAX_STREAM_KEYS: usize = 1000;
/// A pair whose last failure is this long ago starts anew.
pub const LOGIN_FAILURE_MEMORY: Duration = Duration::from_secs(600);

/// Characters of what an encoder calls itself that are kept to be shown.
pub const MAX_AGENT: usize = 64;
/// The path of the control socket, bytes: what the system's address has room for (unix(7)).
pub const MAX_SOCKET_PATH: usize = 107;
/// One request on the control socket, bytes: a verb and a stream's name, or a line of the command line, each
/// of whose bytes may be two in JSON.
pub const MAX_CONTROL_REQUEST: usize = 17 * 1024;
/// A line of the command line, bytes, as it always was.
pub const MAX_VERB_LINE: usize = 8191;
/// Keys of such a line.
pub const MAX_VERB_FIELDS: usize = 64;
/// Connections to the command line over TCP; one more is told so and closed.
pub const MAX_VERB_CLIENTS: usize = 16;
/// A connection to the command line that says nothing, or takes no answer, for this long is closed:
/// people type there.
pub const VERB_PATIENCE: Duration = Duration::from_secs(600);
/// Connections, or streams, that one answer of the command line lists.
pub const MAX_VERB_ROWS: usize = 5000;
/// Connections to the control socket at once; one more is told so and closed.
pub const MAX_CONTROL_CLIENTS: usize = 16;
/// How long a connection to the control socket may take for its next request, or for taking its
/// answer; then it is closed.
pub const CONTROL_PATIENCE: Duration = Duration::from_secs(10);
/// Viewers, streams or mirrors in one answer on the control socket; the next request goes on behind
/// them.
pub const MAX_CONTROL_PAGE: usize = 500;
/// How long a shard may take to say who is connected to it; then it is reported as stuck.
pub const SHARD_ANSWER: Duration = Duration::from_secs(2);
/// An answer of the control socket that a client takes, bytes.
pub const MAX_CONTROL_ANSWER: usize = 16 << 20;
/// How long a client of the control socket waits for an answer.
pub const CONTROL_ANSWER: Duration = Duration::from_secs(10);

/// Pulls and pushes at once, those of the configuration and those that were asked for; one more is
/// refused.
pub const MAX_REMOTES: usize = 256;
/// The address of another server, a name there, or another text for it, bytes.
pub const MAX_REMOTE_URL: usize = 2048;
/// From dialling another server to the end of its login, which may take three connections.
pub const REMOTE_LOGIN: Duration = Duration::from_secs(30);
/// How long another server may take to agree to a play or a publish.
pub const REMOTE_ANSWER: Duration = Duration::from_secs(10);
/// The longest pause before another server is tried again, for ever; the first is 100 ms.
pub const REMOTE_RETRY: Duration = Duration::from_secs(5);
/// Servers that may send elsewhere, one after the other, before that counts as a failure.
pub const MAX_REDIRECTS: usize = 3;
/// A push whose stream has no source stays connected for this long: an encoder's hiccup.
pub const REMOTE_LINGER: Duration = Duration::from_secs(5);
/// Bytes of a push that wait for the target's socket; what is behind them stays in the stream's log.
pub const MAX_REMOTE_UNSENT: usize = 1 << 20;
/// The file of the pulls and pushes that were asked for at run time, bytes.
pub const MAX_STATE_FILE: u64 = 1 << 20;

/// Log lines for one reason within a second; the rest is counted.
pub const MAX_LOG_LINES: u32 = 20;
/// A peer has one log line for one reason within this time, however often it tries again.
pub const LOG_REPEAT: Duration = Duration::from_secs(10);
/// Pairs of reason and address whose last log line is remembered.
pub const MAX_LOG_PEERS: usize = 1024;
/// Reasons that are counted apart.
pub const MAX_LOG_REASONS: usize = 256;

/// Payload bytes in the log of one stream: 20 s at 6 Mbit/s.
pub const LOG_BYTES: usize = 16 << 20;
/// Time in the log of one stream: the longest GOP that encoders are set to, and then some.
pub const LOG_TIME: Duration = Duration::from_secs(20);
/// Frames in the log of one stream: 20 s of video at 60 frames and audio at 47 frames a second,
/// twice over.
pub const LOG_FRAMES: usize = 4096;
/// A segment for HLS is at least this long, and ends with the next key frame: what encoders for live
/// events are set to. A player begins three segments behind live.
pub const SEGMENT: Duration = Duration::from_secs(2);
/// Media of one segment, bytes: a group of pictures at 24 Mbit/s that is 10 s long. There is no segment
/// of what has more.
pub const MAX_SEGMENT_BYTES: usize = 32 << 20;
/// Segments of one stream that are kept for HLS, bytes, beside the one that is being collected: 20 s
/// at 24 Mbit/s. The newest is kept whatever it has.
pub const HLS_BYTES: usize = 64 << 20;
/// Segments that a playlist names: twice what a player begins behind live, for one that lost its way.
pub const HLS_WINDOW: usize = 6;
/// The fewest segments that a playlist may name: a player begins three behind live.
pub const MIN_HLS_WINDOW: usize = 3;
/// The most.
pub const MAX_HLS_WINDOW: usize = 60;
/// Viewers of HLS that are counted at once. Who comes beyond takes the place of nobody: it is served
/// and not counted.
pub const MAX_HLS_VIEWERS: usize = 65_536;
/// Viewers of HLS at one public address (one /64 in IPv6) that are told apart by the tokens in their
/// playlists; those beyond count as one. Tokens can be made up.
pub const MAX_HLS_TOKENS: usize = 64;
/// A viewer of HLS that has not read the playlist for this long is gone; players read it every few
/// seconds, and at least once a segment.
pub const HLS_VIEWER_SILENCE: Duration = Duration::from_secs(10);
/// Segments that are kept behind the playlist: for players that read it a while ago.
pub const HLS_GRACE_SEGMENTS: usize = 3;
/// A stream is packaged until this long after the last request: a player asks every few seconds.
pub const HLS_IDLE: Duration = Duration::from_secs(30);
/// A request for a playlist waits this long for the first segment: the longest groups of pictures that
/// encoders are set to without thought have 8.3 to 10 s.
pub const HLS_FIRST_WAIT: Duration = Duration::from_secs(12);
/// A request for a segment that is about to be made waits this long.
pub const HLS_NEXT_WAIT: Duration = Duration::from_secs(5);
/// How long a stream outlives its source: an encoder's restart.
pub const GRACE: Duration = Duration::from_secs(30);
/// A publisher without media for this long counts as silent: 25 frames at 25 a second did not come.
pub const SILENT_AFTER: Duration = Duration::from_secs(1);
/// A cached GOP longer than this is not sent to a joining viewer by default: an RTMP player would
/// stay that late for good.
pub const MAX_JOIN_GOP: Duration = Duration::from_secs(4);
/// A viewer further behind than this, and than one GOP, skips to the newest key frame, ms.
pub const MAX_LAG: u64 = 4_000;
/// An epoch that had no video for this long, ms, is taken for audio only: encoders send the headers
/// of both at the start.
pub const AUDIO_ONLY_AFTER: u64 = 1_000;
/// One whose video has been missing for this long while its audio goes on, ms, is joined without a key
/// frame; its video is shown from the next one on.
pub const VIDEO_GONE_AFTER: u64 = 5_000;

/// A configuration file, bytes.
pub const MAX_CONFIG_FILE: u64 = 1 << 20;
/// Problems of types and keys that one check reports.
pub const MAX_CONFIG_PROBLEMS: usize = 100;

/// What a service manager that does not read is still to be told; older notices give way.
pub const MAX_NOTICES: usize = 8;
/// The status line for the service manager is told anew at most this often.
pub const STATUS_EVERY: Duration = Duration::from_secs(1);
/// Whether there is room on the disk is looked at this often.
pub const DISK_EVERY: Duration = Duration::from_secs(10);
/// What a machine says of itself, bytes; the rest is cut off.
pub const MAX_NOTE: usize = 500;
/// A thread that has not gone round once in this time is reported; a shard goes round twice a second.
pub const STANDSTILL: Duration = Duration::from_secs(10);

/// Samples of a media file: 14 h of pictures and sound, whose index has 64 MiB.
pub const MAX_FILE_SAMPLES: usize = 4_000_000;
/// The index of an MP4 file (`moov`), bytes, while it is read.
pub const MAX_FILE_INDEX: usize = 64 << 20;
/// The index of one fragment (`moof`), bytes.
pub const MAX_FILE_FRAGMENT: usize = 8 << 20;
/// Boxes of an MP4 file beside each other: two for each fragment.
pub const MAX_FILE_BOXES: usize = 1 << 20;
/// Tracks of a media file that are looked at; the first of pictures and the first of sound are played.
pub const MAX_FILE_TRACKS: usize = 32;
/// One frame of a media file, bytes.
pub const MAX_FILE_FRAME: u64 = 8 << 20;
/// Bytes of a media file that are read for one viewer at once; a frame that is larger goes alone. A
/// viewer that takes nothing holds twice that.
pub const FILE_BATCH: usize = 64 << 10;
/// Frames of a media file that are read for one viewer at once.
pub const MAX_FILE_BATCH: usize = 512;
/// Jobs that wait for a thread that reads media files; what a viewer wants is one.
pub const MAX_FILE_JOBS: usize = 16_384;
/// Threads that read media for viewers of files.
pub const FILE_READERS: usize = 4;
/// Threads that read indexes of media files.
pub const FILE_INDEXERS: usize = 2;
/// Indexes of media files in memory, bytes: those in use, and others while there is room. A play of one
/// more file is refused when those in use fill it.
pub const MAX_FILE_INDEXES: usize = 256 << 20;
/// Indexes of media files that are kept on a disk (`files.cache_dir`), bytes; the oldest give way.
pub const MAX_INDEX_CACHE: u64 = 1 << 30;
/// How many of them.
pub const MAX_CACHED_INDEXES: usize = 10_000;
/// One of them, bytes: that of the longest file that there may be.
pub const MAX_KEPT_INDEX: usize = 68 << 20;
/// Media files that cannot be played and are remembered.
pub const MAX_BAD_FILES: usize = 1024;
/// A viewer of a file that takes nothing, and answers nothing, for this long is closed: who pauses a film
/// reads nothing.
pub const FILE_PATIENCE: Duration = Duration::from_secs(600);
/// How far a play of a file runs ahead of its player's clock.
pub const FILE_AHEAD: Duration = Duration::from_secs(15);
/// The longest that a player may let a file run ahead of its clock; librtmp asks for ten hours.
pub const MAX_FILE_AHEAD: Duration = Duration::from_secs(120);
/// Plays of files on one connection: each holds a part of one.
pub const MAX_FILE_PLAYS: usize = 4;
/// Files that wait in a list (`play` with `reset` false) behind the one that plays; as many that were played
/// are remembered, to be sought back into.
pub const MAX_FILE_LIST: usize = 64;
/// Calls of `getStreamLength` of one connection that wait for their answers.
pub const MAX_LENGTH_CALLS: usize = 4;
/// Key frames in an index that is put in front of an FLV file, so that a player can seek in it.
pub const MAX_INDEXED_FRAMES: usize = 5_000;
/// A segment of a media file for HLS is at least this long, and ends with the next key frame.
pub const FILE_SEGMENT: Duration = Duration::from_secs(6);
/// Segments of one media file: 33 h of 6 s; those of a longer file are longer.
pub const MAX_FILE_SEGMENTS: usize = 20_000;
/// What was made of media files for HLS and waits to be sent, bytes, to all viewers together.
pub const MAX_MADE_BYTES: usize = 256 << 20;
/// Media files that are listed.
pub const MAX_LISTED_FILES: usize = 1000;
/// Folders that are looked into for a list of media files.
pub const MAX_LISTED_FOLDERS: usize = 1000;

/// One file of a configuration in Lua, bytes; those that people have are some 10 KiB.
pub const MAX_LUA_FILE: usize = 256 * 1024;
/// Files that a configuration in Lua reads: one for each application, and a few lists.
pub const MAX_LUA_FILES: usize = 64;
/// Files that run each other.
pub const MAX_LUA_DEPTH: usize = 8;
/// Instructions of a configuration in Lua; a loader of twenty files needs some thousand.
pub const MAX_LUA_INSTRUCTIONS: u64 = 10_000_000;
/// Its processor time: each of its instructions may copy as much as [`MAX_LUA_MEMORY`].
pub const MAX_LUA_TIME: Duration = Duration::from_secs(2);
/// Its memory.
pub const MAX_LUA_MEMORY: usize = 16 << 20;
/// Steps of all its patterns together, which a pattern makes within one instruction.
pub const MAX_LUA_PATTERN_STEPS: u64 = 10_000_000;
/// Parts of a pattern that may match more than once, as in Lua 5.2 and later.
pub const MAX_LUA_PATTERN_DEPTH: usize = 200;
/// What it prints, bytes, to be shown when it gives up.
pub const MAX_LUA_PRINTED: usize = 4096;
/// Tables in each other in what it leaves behind; the original's keys lie 6 deep.
pub const MAX_LUA_NESTING: usize = 16;
/// Values in what it leaves behind.
pub const MAX_LUA_VALUES: usize = 10_000;
/// Bytes of text in what it leaves behind.
pub const MAX_LUA_TEXT: usize = 1 << 20;
/// Recordings at once; each has a thread, which sleeps but for a moment now and then.
pub const MAX_RECORDINGS: usize = 1024;
/// A pattern for the names of recordings, bytes.
pub const MAX_RECORDING_NAME: usize = 255;
/// A part of the path of a recording, bytes, before a number and the extension: a file system takes 255.
pub const MAX_RECORDING_PART: usize = 230;
/// Numbers that are tried for a recording whose name is taken.
pub const MAX_RECORDING_NUMBER: u32 = 9_999;
/// Media that is collected for one fragment of a recording, bytes: a quarter of a second at 128 Mbit/s.
pub const MAX_RECORDED_FRAGMENT: usize = 4 << 20;
/// Bytes that are written to a recording at once.
pub const RECORDING_WRITE: usize = 1 << 20;
/// How often a recording is written: what is lost when the process is killed.
pub const RECORDING_TURN: Duration = Duration::from_millis(150);
/// How often a recording is made safe from a loss of power.
pub const RECORDING_SYNC: Duration = Duration::from_millis(400);
/// A recording of the rule that failed is tried again after this long.
pub const RECORDING_RETRY: Duration = Duration::from_secs(10);
/// How long recordings may take to end when the server does.
pub const RECORDING_END: Duration = Duration::from_secs(5);
/// The longest file of a recording: FLV counts milliseconds in 31 bits, MP4 has four fragments a second.
pub const MAX_RECORDING_TIME: Duration = Duration::from_secs(24 * 60 * 60);
/// What must be left on the disk for a recording to go on, bytes.
pub const RECORDING_FREE: u64 = 1 << 30;
/// Recordings whose end nobody saw that are mended at one start.
pub const MAX_UNFINISHED: usize = 10_000;
