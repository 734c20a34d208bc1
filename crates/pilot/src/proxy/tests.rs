use super::*;

fn node(id: &str, metadata: &[(&str, Value)]) -> Node {
    let metadata = metadata.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
    Node { id: id.to_owned(), metadata, ..Node::default() }
}

#[test]
fn a_node_tells_who_it_is() {
    let labels = Struct::from([("app".to_owned(), Value::from("reviews"))]);
    let node = node(
        "sidecar~10.244.0.5~reviews-v1.bookinfo~bookinfo.svc.cluster.local",
        &[
            ("LABELS", Value::Struct(labels)),
            ("INSTANCE_IPS", Value::from("10.244.0.5,fd00::5,nonsense")),
            ("SERVICE_ACCOUNT", Value::from("bookinfo-reviews")),
            ("SOCKET_MARK", Value::from("1337")),
        ],
    );
    let proxy = Proxy::from_node(&node).unwrap();
    assert_eq!(proxy.proxy_type, ProxyType::Sidecar);
    assert_eq!((proxy.name.as_str(), proxy.namespace.as_str()), ("reviews-v1", "bookinfo"));
    assert_eq!(proxy.ips, ["10.244.0.5".parse::<IpAddr>().unwrap(), "fd00::5".parse().unwrap()]);
    assert_eq!(proxy.labels["app"], "reviews");
    assert_eq!(proxy.socket_mark, Some(1337));
}

#[test]
fn what_is_missing_is_named() {
    let error = |id: &str, metadata: &[(&str, Value)]| {
        Proxy::from_node(&node(id, metadata)).unwrap_err().to_string()
    };
    assert!(error("sidecar~10.0.0.1", &[]).contains("type~ip~pod.namespace~domain"));
    assert!(error("ztunnel~10.0.0.1~a.b~c", &[]).contains("\"ztunnel\""));
    assert!(error("sidecar~x~a.b~c", &[]).contains("INSTANCE_IPS"));
    assert!(error("sidecar~10.0.0.1~a~c", &[]).contains("NAMESPACE"));
    let mark = [("SOCKET_MARK", Value::from("-1"))];
    assert!(error("sidecar~10.0.0.1~a.b~c", &mark).contains("\"-1\""));
}

#[test]
fn a_mark_may_be_a_number() {
    let mark = [("SOCKET_MARK", Value::number(1337.0))];
    let proxy = Proxy::from_node(&node("router~10.0.0.1~a.b~c", &mark)).unwrap();
    assert_eq!(proxy.socket_mark, Some(1337));
    assert!(proxy.is_router());
}
