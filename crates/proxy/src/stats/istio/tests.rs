use super::*;

fn outline(stats: &mut IstioStats, host: &str) -> Outline {
    let destination =
        Destination { service: host.into(), name: "reviews".into(), namespace: "bookinfo".into() };
    Outline {
        reporter: Reporter::Source,
        peer: 0,
        destination: stats.destination(&destination),
        source_principal: stats.name("spiffe://td/ns/a/sa/b"),
        destination_principal: 0,
        protocol: Protocol::Http,
        security: Security::Unknown,
        flags: 0,
    }
}

fn request(outline: Outline) -> HttpObservation {
    HttpObservation {
        outline,
        response_code: 200,
        grpc_status: None,
        duration: Duration::from_millis(3),
        request_bytes: 10,
        response_bytes: 2_000,
    }
}

#[test]
fn requests_of_the_same_labels_are_one_series_over_all_workers() {
    let mut workers = [IstioStats::new(Peer::default()), IstioStats::new(Peer::default())];
    for worker in &mut workers {
        let outline = outline(worker, "reviews");
        worker.http(&request(outline));
        worker.http(&request(outline));
    }
    let merged = merge(workers.iter().map(IstioStats::collect).collect());
    assert_eq!(merged.len(), 1);
    let (labels, series) = merged.first_key_value().unwrap();
    assert!(labels.contains("source_principal=\"spiffe://td/ns/a/sa/b\""), "{labels}");
    assert!(labels.contains("response_flags=\"-\""), "{labels}");
    assert_eq!(series.requests, 4);
    assert_eq!(series.duration.counts[2], 4);
}

#[test]
fn values_of_labels_cannot_break_out() {
    let mut stats = IstioStats::new(Peer::default());
    let outline = outline(&mut stats, "a\"b\\c\nd");
    stats.http(&request(outline));
    let labels = &stats.collect()[0].0;
    assert!(labels.contains(r#"destination_service="a\"b\\c\nd""#), "{labels}");
}

#[test]
fn names_are_bounded() {
    let mut stats = IstioStats::new(Peer::default());
    for number in 0..MAX_NAMES + 10 {
        stats.name(&number.to_string());
    }
    assert_eq!(stats.name("one more"), 0);
}
