//! Clusters of every discovery, policy and transport.

use xds::{
    Address, BindConfig, CertificateValidation, CircuitBreakers, Cluster, Discovery, Endpoint,
    HealthStatus, Http2Keepalive, LbPolicy, LoadAssignment, Locality, LocalityEndpoints, Metadata,
    OutlierDetection, SocketOption, TcpKeepalive, TlsContext, TransportSocketMatch, TrustedCa,
    UpstreamHttp, UpstreamHttpProtocol, UpstreamTls, Value,
};

use super::{istio_metadata, seconds, upstream_tls};

pub(crate) fn all() -> Vec<Cluster> {
    let mut all = vec![full(), passthrough()];
    let dns = |host: &str| assignment(vec![Address::Hostname { host: host.to_owned(), port: 443 }]);
    let tls = |trusted_ca| UpstreamTls {
        common: TlsContext {
            validation: Some(CertificateValidation {
                trusted_ca,
                match_subject_alt_names: Vec::new(),
            }),
            ..Default::default()
        },
        sni: "example.com".to_owned(),
    };
    all.push(Cluster {
        lb_policy: LbPolicy::RingHash { minimum_ring_size: Some(2048) },
        transport_socket: Some(tls(TrustedCa::System)),
        http: UpstreamHttp {
            protocol: UpstreamHttpProtocol::Auto,
            auto_sni: true,
            auto_san_validation: true,
            max_concurrent_streams: Some(100),
            ..Default::default()
        },
        ..plain("strict-dns", Discovery::StrictDns(dns("example.com")))
    });
    all.push(Cluster {
        lb_policy: LbPolicy::Maglev { table_size: Some(65537) },
        transport_socket: Some(tls(TrustedCa::Unverified)),
        http: UpstreamHttp { protocol: UpstreamHttpProtocol::UseDownstream, ..Default::default() },
        ..plain("logical-dns", Discovery::LogicalDns(dns("example.org")))
    });
    all.push(Cluster {
        lb_policy: LbPolicy::Random,
        ..plain("static", Discovery::Static(assignment(vec![Address::socket([127, 0, 0, 1], 80)])))
    });
    all.push(Cluster {
        lb_policy: LbPolicy::LeastRequest { choice_count: None },
        ..plain(
            "unix",
            Discovery::Static(assignment(vec![Address::Pipe("/run/app.sock".to_owned())])),
        )
    });
    all.push(Cluster {
        bind: Some(BindConfig { source_address: None, socket_options: vec![mark()] }),
        ..plain("mark", Discovery::Eds { service_name: String::new() })
    });
    all.push(plain("empty", Discovery::Static(assignment(Vec::new()))));
    all
}

fn plain(name: &str, discovery: Discovery) -> Cluster {
    Cluster {
        name: name.to_owned(),
        alt_stat_name: String::new(),
        discovery,
        connect_timeout: seconds(10),
        lb_policy: LbPolicy::RoundRobin,
        healthy_panic_threshold: None,
        locality_weighted: false,
        circuit_breakers: CircuitBreakers::default(),
        outlier_detection: None,
        transport_socket: None,
        transport_socket_matches: Vec::new(),
        http: UpstreamHttp::default(),
        bind: None,
        tcp_keepalive: None,
        filters: Vec::new(),
        metadata: Metadata::default(),
    }
}

fn full() -> Cluster {
    Cluster {
        alt_stat_name: "outbound_80_reviews;".to_owned(),
        lb_policy: LbPolicy::LeastRequest { choice_count: Some(3) },
        healthy_panic_threshold: Some(0),
        locality_weighted: true,
        circuit_breakers: CircuitBreakers {
            max_connections: Some(u32::MAX),
            max_pending_requests: Some(1),
            max_requests: Some(2),
            max_retries: Some(u32::MAX),
            retry_budget: Some(xds::RetryBudget { share: 255_000, min_retry_concurrency: Some(2) }),
        },
        outlier_detection: Some(OutlierDetection {
            consecutive_5xx: Some(5),
            enforcing_consecutive_5xx: Some(100),
            consecutive_gateway_failure: Some(5),
            enforcing_consecutive_gateway_failure: Some(0),
            consecutive_local_origin_failure: Some(3),
            enforcing_consecutive_local_origin_failure: Some(100),
            split_external_local_origin_errors: true,
            interval: Some(seconds(10)),
            base_ejection_time: Some(seconds(30)),
            max_ejection_time: Some(seconds(300)),
            max_ejection_percent: Some(10),
        }),
        transport_socket_matches: vec![
            TransportSocketMatch {
                name: "tlsMode-istio".to_owned(),
                criteria: [("tlsMode".to_owned(), "istio".to_owned())].into(),
                transport_socket: Some(upstream_tls()),
            },
            TransportSocketMatch {
                name: "tlsMode-disabled".to_owned(),
                criteria: Default::default(),
                transport_socket: None,
            },
        ],
        http: UpstreamHttp {
            protocol: UpstreamHttpProtocol::Http2,
            idle_timeout: Some(seconds(60)),
            max_connection_duration: Some(seconds(3600)),
            max_requests_per_connection: Some(10),
            max_concurrent_streams: Some(1_073_741_824),
            keepalive: Some(Http2Keepalive { interval: seconds(30), timeout: seconds(5) }),
            auto_sni: false,
            auto_san_validation: false,
        },
        tcp_keepalive: Some(TcpKeepalive { probes: Some(9), time: Some(75), interval: None }),
        metadata: istio_metadata(),
        ..plain(
            "outbound|80|v1|reviews.ns.svc.cluster.local",
            Discovery::Eds { service_name: "outbound|80|v1|reviews.ns.svc.cluster.local".into() },
        )
    }
}

fn passthrough() -> Cluster {
    Cluster {
        lb_policy: LbPolicy::ClusterProvided,
        bind: Some(BindConfig {
            source_address: Some([127, 0, 0, 6].into()),
            socket_options: vec![mark()],
        }),
        ..plain("InboundPassthroughCluster", Discovery::OriginalDst)
    }
}

fn mark() -> SocketOption {
    SocketOption { description: "mark".to_owned(), level: 1, name: 36, value: 1337 }
}

fn assignment(addresses: Vec<Address>) -> LoadAssignment {
    let endpoint = |address| Endpoint {
        address,
        health_status: HealthStatus::Healthy,
        load_balancing_weight: Some(2),
        metadata: Metadata(
            [(
                "envoy.transport_socket_match".to_owned(),
                [("tlsMode".to_owned(), Value::from("istio"))].into(),
            )]
            .into(),
        ),
    };
    LoadAssignment {
        cluster_name: "assignment".to_owned(),
        localities: vec![LocalityEndpoints {
            locality: Locality { region: "r".into(), zone: "z".into(), sub_zone: String::new() },
            priority: 0,
            load_balancing_weight: Some(1),
            endpoints: addresses.into_iter().map(endpoint).collect(),
        }],
        overprovisioning_factor: Some(140),
    }
}
