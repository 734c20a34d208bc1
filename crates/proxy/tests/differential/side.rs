//! A proxy with its backend: this one, configured over ADS, or a stock Envoy, configured by the
//! same values in its bootstrap.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use xds::Resource;

use crate::{
    backend::Backend,
    call,
    cases::Case,
    control::Control,
    observation::Observation,
    topology::{self, Places},
};

/// What keeps a proxy running.
enum Running {
    Mizzen(proxy::Handle, Control),
    Envoy(tokio::process::Child),
}

/// A proxy with its backend.
pub(crate) struct Side {
    backend: Backend,
    listeners: BTreeMap<&'static str, SocketAddr>,
    log: PathBuf,
    running: Running,
}

impl Drop for Side {
    fn drop(&mut self) {
        match &mut self.running {
            Running::Mizzen(handle, _) => handle.shutdown(),
            Running::Envoy(child) => {
                let _gone = child.start_kill();
            }
        }
    }
}

impl Side {
    /// This proxy.
    pub(crate) async fn mizzen(dir: &Path) -> Self {
        std::fs::create_dir_all(dir).expect("a directory");
        let backend = Backend::start().await;
        let places = places(&backend, dir).await;
        let control = Control::start(&dir.join("xds.sock"));
        topology::resources(&places).into_iter().for_each(|resource| control.put(resource));
        let node = xds::Node {
            id: "router~10.0.0.1~test.test~test.svc.cluster.local".into(),
            cluster: "test".into(),
            ..xds::Node::default()
        };
        let ads = proxy::ServiceAddress::Unix(dir.join("xds.sock"));
        let mut bootstrap = proxy::Bootstrap::new(node, ads, None);
        (bootstrap.admin_address, bootstrap.stats_address) = (None, None);
        let handle = proxy::Handle::new();
        tokio::spawn(proxy::run(bootstrap, handle.clone()));
        let side = Self::new(backend, places, Running::Mizzen(handle, control)).await;
        let Running::Mizzen(_, control) = &side.running else { unreachable!() };
        assert!(control.nacks().is_empty(), "{:?}", control.nacks());
        side
    }

    /// A stock Envoy.
    pub(crate) async fn envoy(binary: &Path, dir: &Path) -> Self {
        std::fs::create_dir_all(dir).expect("a directory");
        let backend = Backend::start().await;
        let places = places(&backend, dir).await;
        let file = dir.join("bootstrap.json");
        let text = bootstrap(&topology::resources(&places)).to_string();
        std::fs::write(&file, text).expect("a file");
        let printed = std::fs::File::create(dir.join("printed")).expect("a file");
        let child = tokio::process::Command::new(binary)
            .args(["--concurrency", "1", "--disable-hot-restart", "--log-level", "warning"])
            .args(["--file-flush-interval-msec", "50", "-c"])
            .arg(&file)
            .stderr(printed)
            .kill_on_drop(true)
            .spawn()
            .expect("Envoy");
        Self::new(backend, places, Running::Envoy(child)).await
    }

    async fn new(backend: Backend, places: Places, mut running: Running) -> Self {
        for address in places.listeners.values() {
            let mut tries = 0;
            while TcpStream::connect(address).await.is_err() {
                if let Running::Envoy(child) = &mut running
                    && child.try_wait().expect("Envoy").is_some()
                {
                    let printed = places.log.with_file_name("printed");
                    panic!("{}", std::fs::read_to_string(printed).unwrap_or_default());
                }
                tries += 1;
                assert!(tries < 600, "nobody listens on {address}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        let Places { listeners, log, .. } = places;
        Self { backend, listeners, log, running }
    }

    /// Makes a call, and notes what came of it.
    pub(crate) async fn observe(&mut self, number: usize, case: &Case) -> Observation {
        self.backend.take();
        let address = self.listeners.get(case.listener.as_str()).expect(&case.name);
        let number = u16::try_from(number).expect("few calls").to_be_bytes();
        let from = Ipv4Addr::new(127, 9, number[0], number[1].max(1));
        let outcome = call::make(*address, from, &case.call).await;
        tokio::time::sleep(Duration::from_millis(10)).await;
        Observation::new(&outcome, &self.backend.take())
    }

    /// The access log so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

async fn places(backend: &Backend, dir: &Path) -> Places {
    let mut held = Vec::new();
    let mut listeners = BTreeMap::new();
    for name in topology::LISTENERS {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        listeners.insert(name, listener.local_addr().expect("address"));
        held.push(listener);
    }
    Places { backend: backend.address, echo: backend.echo, listeners, log: dir.join("access.log") }
}

fn bootstrap(resources: &[Resource]) -> Value {
    let (mut clusters, mut listeners) = (Vec::new(), Vec::new());
    for resource in resources {
        let mut value = xds::to_json(&xds::encode(resource)).expect("JSON");
        value.as_object_mut().expect("an object").remove("@type");
        match resource {
            Resource::Cluster(_) => clusters.push(value),
            _ => listeners.push(value),
        }
    }
    json!({
        "node": {"id": "envoy", "cluster": "test"},
        // As Istio's bootstrap has it: a fragment is cut off, not refused.
        "layered_runtime": {"layers": [{"name": "static", "static_layer": {
            "envoy.reloadable_features.http_reject_path_with_fragment": false}}]},
        "static_resources": {"clusters": clusters, "listeners": listeners},
    })
}
