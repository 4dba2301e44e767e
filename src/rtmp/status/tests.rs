use super::*;
use crate::rtmp::message::kind;

const LIVE: Subject<'static> = Subject {
    name: "cam",
    client: 7,
};

/// `level code description` of the one status object, after the wire.
fn summary(command: &Command) -> String {
    let bytes = command.encode(kind::COMMAND_AMF0);
    let command = Command::decode(kind::COMMAND_AMF0, &bytes).unwrap();
    let info = command.args.first().unwrap();
    let text = |key| info.get(key).unwrap().as_str().unwrap().to_owned();
    format!("{} {} {}", text("level"), text("code"), text("description"))
}

#[test]
fn connect_is_accepted_as_the_original_did() {
    let command = connect_success(1.0, 3.0, false, vec![("own".to_owned(), true.into())]);
    assert_eq!(command.name, "_result");
    let version = command.object.get("fmsVer").and_then(Value::as_str);
    assert_eq!(version, Some("FMS/3,0,1,123"));
    let capabilities = command.object.get("capabilities").and_then(Value::as_f64);
    assert_eq!(capabilities, Some(31.0));
    assert_eq!(
        summary(&command),
        "status NetConnection.Connect.Success Connection succeeded"
    );
    let info = &command.args[0];
    assert_eq!(info.get("objectEncoding"), Some(&Value::Number(3.0)));
    assert_eq!(info.get("own"), Some(&Value::Boolean(true)));
    assert_eq!(info.get("capsEx"), None);
    assert!(!is_error(info));
    assert_eq!(code_of(info), code::CONNECT_SUCCESS);
}

#[test]
fn connect_answers_enhanced_clients() {
    let command = connect_success(1.0, 0.0, true, vec![]);
    let info = &command.args[0];
    assert_eq!(info.get("capsEx"), Some(&Value::Number(15.0)));
    for map in ["videoFourCcInfoMap", "audioFourCcInfoMap"] {
        let any = info.get(map).and_then(|map| map.get("*"));
        assert_eq!(any, Some(&Value::Number(4.0)), "{map}");
    }
    let list = info.get("fourCcList").and_then(Value::elements);
    assert_eq!(list, Some(&["*".into()][..]));
}

#[test]
fn connect_is_refused_or_redirected() {
    let auth = "[ AccessManager.Reject ] : [ code=403 need auth; authmod=adobe ] : ";
    let command = connect_rejected(1.0, code::CONNECT_REJECTED, auth, None);
    assert_eq!(
        (command.name.as_str(), command.transaction),
        ("_error", 1.0)
    );
    assert_eq!(command.object, Value::Null);
    assert_eq!(
        summary(&command),
        format!("error NetConnection.Connect.Rejected {auth}")
    );
    assert_eq!(command.args[0].get("ex"), None);
    assert!(is_error(&command.args[0]));

    let ex = redirect("rtmp://b/live");
    let command = connect_rejected(1.0, code::CONNECT_REJECTED, "moved", Some(ex));
    let ex = command.args[0].get("ex").unwrap();
    assert_eq!(ex.get("code"), Some(&Value::Number(302.0)));
    assert_eq!(ex.get("redirect"), Some(&"rtmp://b/live".into()));
}

#[test]
fn the_codes_of_a_stream() {
    for (command, expected) in [
        (
            LIVE.publish_start(),
            "status NetStream.Publish.Start Stream cam is now published",
        ),
        (
            LIVE.publish_bad_name("taken"),
            "error NetStream.Publish.BadName taken",
        ),
        (
            LIVE.unpublish_success(),
            "status NetStream.Unpublish.Success Stream cam is not published any more",
        ),
        (
            LIVE.play_reset(),
            "status NetStream.Play.Reset Playing and resetting cam",
        ),
        (
            LIVE.play_start(),
            "status NetStream.Play.Start Started playing cam",
        ),
        (
            LIVE.play_stop(),
            "status NetStream.Play.Stop Stopped playing cam",
        ),
        (
            LIVE.play_publish_notify(),
            "status NetStream.Play.PublishNotify cam is now published",
        ),
        (
            LIVE.play_unpublish_notify(),
            "status NetStream.Play.UnpublishNotify cam is now unpublished",
        ),
        (
            LIVE.play_stream_not_found("no"),
            "error NetStream.Play.StreamNotFound no",
        ),
        (LIVE.play_failed("no"), "error NetStream.Play.Failed no"),
        (
            LIVE.pause_notify(true),
            "status NetStream.Pause.Notify Pausing cam",
        ),
        (
            LIVE.pause_notify(false),
            "status NetStream.Unpause.Notify Unpausing cam",
        ),
        (
            LIVE.seek_notify(1500),
            "status NetStream.Seek.Notify Seeking 1500 ms in cam",
        ),
        (LIVE.seek_failed("live"), "error NetStream.Seek.Failed live"),
    ] {
        assert_eq!(summary(&command), expected);
        assert_eq!(
            (command.name.as_str(), command.transaction),
            ("onStatus", 0.0)
        );
        assert_eq!(command.args[0].get("details"), Some(&"cam".into()));
        assert_eq!(command.args[0].get("clientid"), Some(&"7".into()));
    }
}

#[test]
fn a_name_is_no_format() {
    let odd = Subject {
        name: "{}{0}",
        client: 1,
    };
    assert_eq!(
        summary(&odd.seek_notify(2)),
        "status NetStream.Seek.Notify Seeking 2 ms in {}{0}"
    );
}

#[test]
fn notices_around_a_stream() {
    for (command, name, expected) in [
        (
            on_fc_publish("cam"),
            "onFCPublish",
            "status NetStream.Publish.Start cam",
        ),
        (
            on_fc_unpublish("cam"),
            "onFCUnpublish",
            "status NetStream.Unpublish.Success cam",
        ),
        (
            on_fc_subscribe("cam"),
            "onFCSubscribe",
            "status NetStream.Play.Start cam",
        ),
        (
            reconnect_request(None, "moving"),
            "onStatus",
            "status NetConnection.Connect.ReconnectRequest moving",
        ),
    ] {
        assert_eq!(summary(&command), expected);
        assert_eq!((command.name.as_str(), command.transaction), (name, 0.0));
    }
    let moved = reconnect_request(Some("rtmp://b/live"), "");
    assert_eq!(moved.args[0].get("tcUrl"), Some(&"rtmp://b/live".into()));
    assert_eq!(
        on_bw_done(),
        Command::notice("onBWDone", vec![8192.0.into()])
    );
}

#[test]
fn a_failed_call_sends_no_long_name_back() {
    let command = call_failed(9.0, "nothing");
    assert_eq!(
        (command.name.as_str(), command.transaction),
        ("_error", 9.0)
    );
    assert_eq!(
        summary(&command),
        "error NetConnection.Call.Failed call to function nothing failed"
    );
    let wordless = summary(&call_failed(9.0, "")).len();
    assert_eq!(
        summary(&call_failed(9.0, &"x".repeat(255))).len(),
        wordless + 255
    );
    assert_eq!(
        summary(&call_failed(9.0, &"x".repeat(256))).len(),
        wordless + 255
    );
    // a character of two bytes is not cut in half
    assert_eq!(
        summary(&call_failed(9.0, &"é".repeat(128))).len(),
        wordless + 254
    );
}

#[test]
fn data_messages() {
    assert_eq!(
        sample_access(false, true),
        b"\x02\0\x11|RtmpSampleAccess\x01\0\x01\x01".as_slice()
    );
    let values = |payload: &[u8]| crate::amf::amf0::decode_all(payload).unwrap();
    let start = values(&data_start());
    assert_eq!(code_of(&start[1]), code::DATA_START);
    let complete = values(&play_complete(10.5, 2048.0));
    assert_eq!(complete[0], "onPlayStatus".into());
    assert_eq!(code_of(&complete[1]), code::PLAY_COMPLETE);
    assert_eq!(complete[1].get("duration"), Some(&Value::Number(10.5)));
    assert_eq!(complete[1].get("bytes"), Some(&Value::Number(2048.0)));
    let metadata = values(&on_metadata(vec![("width".to_owned(), 640.0.into())]));
    assert_eq!(metadata[0], "onMetaData".into());
    assert_eq!(metadata[1], ecma_array([("width", 640.0.into())]));
}
