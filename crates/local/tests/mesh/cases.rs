//! What must hold of a mesh.

use std::fs;
use std::time::{Duration, Instant};

use local::event::Event;
use local::launch::LaunchError;
use local::status::Phase;

use super::running::{Running, assert_gone, launch_in, start, tree};

type Case = fn();

/// All cases, by name.
pub(crate) const ALL: &[(&str, Case)] = &[
    ("a_plain_workload_runs_and_leaves_nothing", plain),
    ("a_sidecar_comes_before_its_application", injected),
    ("the_default_gateway_serves_the_hosts_socket", gateway),
    ("edits_replace_workloads_and_refused_ones_change_nothing", reload),
    ("processes_that_die_come_back", crashes),
    ("a_container_that_fails_its_probes_is_started_again", probes),
    ("a_missing_command_is_told_and_the_rest_runs", missing_command),
    ("two_meshes_do_not_share_a_state_directory", locked),
    ("all_ends_with_the_outer_process", outer_dies),
    ("broken_files_start_nothing", broken),
    ("a_taken_port_starts_nothing", taken_port),
    ("refused_namespaces_are_explained", refused_namespaces),
];

/// Why no mesh can be started here at all.
pub(crate) fn cannot_run() -> Option<String> {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("config")).unwrap();
    match start(&launch_in(directory.path())) {
        Ok((mut mesh, _events)) => {
            mesh.kill();
            mesh.finish();
            None
        }
        Err(LaunchError::Namespaces(message)) => Some(message),
        Err(error) => panic!("{error}"),
    }
}

/// A Deployment and a Service of the namespace `shop`.
fn deployment(name: &str, replicas: u32, script: &str) -> String {
    format!(
        r#"
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {name}
  namespace: shop
spec:
  replicas: {replicas}
  selector:
    matchLabels:
      app: {name}
  template:
    metadata:
      labels:
        app: {name}
    spec:
      serviceAccountName: {name}
      terminationGracePeriodSeconds: 2
      containers:
        - name: main
          image: none
          command: ["sh", "-c", {script:?}]
          env:
            - name: IP
              valueFrom:
                fieldRef:
                  fieldPath: status.podIP
---
apiVersion: v1
kind: Service
metadata:
  name: {name}
  namespace: shop
spec:
  selector:
    app: {name}
  ports:
    - name: http
      port: 80
---
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {name}
  namespace: shop
"#
    )
}

fn namespace(injection: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: shop\n  labels:\n    istio-injection: {injection}\n"
    )
}

const FOREVER: &str =
    "echo started as $HOSTNAME at $IP; hostname; ls -d /proc/[0-9]*; exec sleep 1000";

fn plain() {
    let mesh = Running::start(&[
        ("namespace.yaml", &namespace("disabled")),
        ("a.yaml", &deployment("a", 2, FOREVER)),
    ]);
    mesh.wait_event("settled", |event| *event == Event::Settled);
    let (first, second) = (mesh.wait_running("a-0"), mesh.wait_running("a-1"));
    assert_ne!(first.address, second.address);
    assert_eq!((first.proxy, first.spiffe_id), (None, None));
    let log = mesh.application_log("a-0");
    assert!(log.contains(&format!("started as a-0 at {}\na-0\n", first.address)), "{log}");
    let processes = log.lines().filter(|line| line.starts_with("/proc/")).count();
    assert!(processes < 15, "the host's processes are visible: {log}");
    mesh.stop();
}

fn injected() {
    let script = "cat /etc/resolv.conf; exec sleep 1000";
    let mesh = Running::start(&[
        ("namespace.yaml", &namespace("enabled")),
        ("a.yaml", &deployment("a", 1, script)),
    ]);
    let status = mesh.wait_running("a");
    assert_eq!(status.spiffe_id.as_deref(), Some("spiffe://cluster.local/ns/shop/sa/a"));
    assert!(status.processes.contains_key("istio-proxy") && status.processes.contains_key("main"));
    let log = mesh.application_log("a");
    assert!(log.contains("search shop.svc.cluster.local"), "{log}");
    let proxy = fs::read_to_string(mesh.launch.state.proxy_log("a")).unwrap();
    let root = nix::unistd::geteuid().is_root();
    assert!(proxy.contains(if root { "uid 1337 for a" } else { "uid 0 for a" }), "{proxy}");
    let registry = mesh.launch.state.path().join("registry");
    let slice = fs::read_to_string(registry.join("endpoints.shop.a.yaml")).unwrap();
    assert!(slice.contains(&status.address.to_string()) && slice.contains("\"ready\": true"));
    mesh.stop();
}

const GATEWAY: &str = "
apiVersion: networking.istio.io/v1
kind: Gateway
metadata:
  name: front
  namespace: shop
spec:
  selector:
    istio: ingressgateway
  servers:
    - port: { number: 80, name: http, protocol: HTTP }
      hosts: [\"*\"]
";

/// The template's metadata of a gateway, up to its `spec`.
const OWN_GATEWAY: &str = "        app: istio-ingressgateway
        istio: ingressgateway
      annotations:
        inject.istio.io/templates: gateway
    spec";

fn gateway() {
    let mesh =
        Running::start(&[("namespace.yaml", &namespace("enabled")), ("gateway.yaml", GATEWAY)]);
    let status = mesh.wait_running("istio-ingressgateway");
    assert_eq!(status.namespace, "istio-system");
    assert!(mesh.ask_gateway().ends_with("gateway"));
    let status = mesh.status().unwrap();
    assert!(status.gateways[0].serving);
    // The gateway comes back, with the socket.
    let written = mesh.launch.state.path().join("registry/istio-ingressgateway.yaml");
    assert!(written.exists());
    mesh.put("gateway.yaml", None);
    mesh.wait_status("the gateway goes", |status| status.workloads.is_empty());
    assert!(!written.exists());
    mesh.put("gateway.yaml", Some(GATEWAY));
    let default = mesh.wait_running("istio-ingressgateway");
    assert!(mesh.ask_gateway().ends_with("gateway"));
    // The user's own one takes its place.
    let own = deployment("istio-ingressgateway", 1, "")
        .replace("namespace: shop", "namespace: istio-system")
        .replace("        app: istio-ingressgateway\n    spec", OWN_GATEWAY);
    mesh.put("own.yaml", Some(&own));
    mesh.wait_status("the user's own gateway", |status| {
        status.workloads.len() == 1
            && status.workloads[0].pod != default.pod
            && status.workloads[0].ready
    });
    assert!(mesh.ask_gateway().ends_with("gateway") && !written.exists());
    mesh.stop();
}

fn reload() {
    let mesh = Running::start(&[
        ("namespace.yaml", &namespace("disabled")),
        ("a.yaml", &deployment("a", 1, "echo one; exec sleep 1000")),
    ]);
    let old = mesh.wait_running("a");
    // A broken edit changes nothing.
    mesh.put("a.yaml", Some("kind: [\n"));
    let told = mesh.wait_event("refusal", |event| matches!(event, Event::Note { .. }));
    let Event::Note { message } = told else { unreachable!() };
    assert!(message.contains("a.yaml:") && message.contains("last good version"), "{message}");
    assert_eq!(mesh.wait_running("a").pod, old.pod);
    assert!(!mesh.status().unwrap().diagnostics.is_empty());
    // Another command replaces the pod: the new one comes before the old one goes.
    mesh.put("a.yaml", Some(&deployment("a", 1, "echo two; exec sleep 1000")));
    let replaced = mesh.wait_status("replaced", |status| {
        assert!(status.workloads.iter().any(|workload| workload.ready), "nothing was ready");
        status.workloads.len() == 1 && status.workloads[0].pod != old.pod
    });
    assert_ne!(replaced.workloads[0].address, old.address);
    assert!(mesh.application_log("a").contains("one\ntwo\n"));
    // More of them, another one, and none.
    let both = deployment("a", 3, "echo two; exec sleep 1000");
    mesh.put("a.yaml", Some(&both));
    mesh.put("b.yaml", Some(&deployment("b", 1, FOREVER)));
    mesh.wait_status("scaled", |status| {
        status.workloads.len() == 4 && status.workloads.iter().all(|workload| workload.ready)
    });
    mesh.put("a.yaml", None);
    mesh.put("b.yaml", None);
    mesh.wait_status("removed", |status| status.workloads.is_empty());
    mesh.stop();
}

fn crashes() {
    let mesh = Running::start(&[
        ("namespace.yaml", &namespace("enabled")),
        ("a.yaml", &deployment("a", 1, FOREVER)),
    ]);
    let running = mesh.wait_running("a");
    let kill = |pid: i32| {
        // The ids are the mesh's own; a process of the host is found by its place in the tree.
        let script = format!("kill -9 {pid}");
        let boot = mesh.status().unwrap();
        assert_eq!(boot.pid, std::process::id());
        let init = host_init();
        let status = std::process::Command::new("nsenter")
            .args(["-t", &init.to_string(), "-U", "-p", "-m", "--preserve-credentials"])
            .args(["sh", "-c", &script])
            .status()
            .unwrap();
        assert!(status.success());
    };
    kill(running.processes["main"]);
    mesh.wait_status("the application comes back", |status| {
        let workload = &status.workloads[0];
        workload.restarts == 1 && workload.ready
    });
    kill(running.processes["istio-proxy"]);
    mesh.wait_status("the sidecar comes back", |status| {
        let workload = &status.workloads[0];
        workload.restarts == 2 && workload.ready
    });
    kill(mesh.status().unwrap().control.process.unwrap());
    mesh.wait_status("the control plane comes back", |status| {
        status.control.restarts == 1 && status.control.ready
    });
    assert!(mesh.wait_running("a").restarts == 2);
    mesh.stop();
}

fn probes() {
    let probes = "          startupProbe:
            exec: { command: [\"sh\", \"-c\", \"test -e /dev/shm/$POD-started\"] }
            periodSeconds: 1
          livenessProbe:
            exec: { command: [\"test\", \"-e\", \"ALIVE\"] }
            periodSeconds: 1
            failureThreshold: 1
";
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str| directory.path().join(name).display().to_string();
    let probes =
        probes.replace("/dev/shm/$POD-started", &file("started")).replace("ALIVE", &file("alive"));
    let text = deployment("a", 1, FOREVER)
        .replace("          env:\n", &format!("{probes}          env:\n"));
    fs::write(file("alive"), "").unwrap();
    let mesh = Running::start(&[("namespace.yaml", &namespace("disabled")), ("a.yaml", &text)]);
    mesh.wait_status("not started", |status| {
        status.find("a").is_some_and(|workload| workload.phase == Phase::NotReady)
    });
    fs::write(file("started"), "").unwrap();
    assert_eq!(mesh.wait_running("a").restarts, 0);
    fs::remove_file(file("alive")).unwrap();
    mesh.wait_status("restarted", |status| status.find("a").unwrap().restarts >= 1);
    fs::write(file("alive"), "").unwrap();
    mesh.wait_running("a");
    mesh.stop();
}

/// The first process inside the mesh that this test runs, by its id on the host.
fn host_init() -> u32 {
    let all = tree(std::process::id());
    let command = |pid: u32| fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    all.iter().map(|(pid, _)| *pid).find(|pid| command(*pid).contains("\0init\0")).unwrap()
}

fn missing_command() {
    let mut broken = deployment("broken", 1, FOREVER);
    broken = broken.replace("\"sh\", \"-c\",", "\"no-such-command\",");
    let mesh = Running::start(&[
        ("namespace.yaml", &namespace("disabled")),
        ("a.yaml", &deployment("a", 1, FOREVER)),
        ("broken.yaml", &broken),
    ]);
    mesh.wait_event("told", |event| match event {
        Event::Workload { name, phase: Phase::Failed, message: Some(message) } => {
            name == "broken" && message.contains("command \"no-such-command\" not found in PATH")
        }
        _ => false,
    });
    mesh.wait_event("settled", |event| *event == Event::Settled);
    mesh.wait_running("a");
    mesh.stop();
}

fn locked() {
    let mesh = Running::start(&[("namespace.yaml", &namespace("disabled"))]);
    mesh.wait_event("settled", |event| *event == Event::Settled);
    let error = start(&mesh.launch).unwrap_err();
    let LaunchError::State(error) = error else { panic!("{error}") };
    assert!(error.to_string().contains(&format!("process {}", std::process::id())), "{error}");
    mesh.stop();
}

/// `kill -9` of the outer process closes its end of the control pipe, as dropping the mesh does
/// here.
fn outer_dies() {
    let mut mesh = Running::start(&[
        ("namespace.yaml", &namespace("enabled")),
        ("a.yaml", &deployment("a", 1, FOREVER)),
    ]);
    mesh.wait_running("a");
    let processes = tree(mesh.mesh().boot_pid());
    mesh.mesh().kill();
    assert_gone(&processes[1..]);
    drop(mesh);

    let mut mesh = Running::start(&[("namespace.yaml", &namespace("disabled"))]);
    mesh.wait_event("settled", |event| *event == Event::Settled);
    let processes = tree(mesh.mesh().boot_pid());
    mesh.forget();
    let began = Instant::now();
    assert_gone(&processes[1..]);
    assert!(began.elapsed() < Duration::from_secs(5));
    mesh.assert_clean();
}

fn broken() {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("config")).unwrap();
    fs::write(directory.path().join("config/x.yaml"), "kind: [\n").unwrap();
    let error = start(&launch_in(directory.path())).unwrap_err();
    let LaunchError::Configuration { errors, diagnostics, .. } = error else { panic!("{error}") };
    assert_eq!(errors, "1 error");
    assert!(diagnostics[0].contains("x.yaml:"), "{diagnostics:?}");
    assert!(!directory.path().join("s").exists());
}

fn taken_port() {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("config")).unwrap();
    let mut launch = launch_in(directory.path());
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    launch.gateways[0].host = taken.local_addr().unwrap();
    let message = start(&launch).unwrap_err().to_string();
    assert!(message.contains("in use by another program"), "{message}");
    assert!(!directory.path().join("s/lock").exists());
}

/// In a user namespace that allows no further ones.
fn refused_namespaces() {
    let script = "echo 0 > /proc/sys/user/max_user_namespaces && exec \"$0\" explain";
    let output = std::process::Command::new("unshare")
        .args(["-Ur", "sh", "-c", script])
        .arg(std::env::current_exe().unwrap())
        .output()
        .unwrap();
    let message = String::from_utf8_lossy(&output.stdout);
    assert!(message.contains("sysctl -w user.max_user_namespaces="), "{output:?}");
}
