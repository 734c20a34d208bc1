//! What is wrong is said clearly, and the mesh stays up or does not start half-way.

use std::{
    fs,
    net::TcpListener,
    path::Path,
    process::{Command, Output, Stdio},
    time::Duration,
};

use testkit::mesh::{Mesh, free_address, processes_with};

use crate::{bookinfo, get, mizzen, turn, up, wait_until};

/// Runs `mizzen up` on a directory that must be refused.
fn refused(dir: &Path, gateway: &str) -> Output {
    let state = tempfile::Builder::new().prefix("mz").tempdir_in("/tmp").expect("directory");
    let output = Command::new(mizzen())
        .arg("up")
        .arg(dir)
        .args(["--gateway-address", gateway, "--state-dir"])
        .arg(state.path().join("s"))
        .stdin(Stdio::null())
        .output()
        .expect("mizzen up");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let marker = state.path().display().to_string();
    assert_eq!(processes_with(&marker), [], "nothing is left running");
    output
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_directory_that_is_wrong_is_not_started() {
    let Some(_turn) = turn() else { return };
    let cases = [
        ("malformed", "kind: Service\n  name: [", &["bad.yaml:2:", "error"][..]),
        (
            "weights",
            "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: w, namespace: bookinfo}\n\
             spec:\n  hosts: [reviews]\n  http:\n  - route:\n    - destination: {host: reviews}\n      weight: -5\n\
             \x20   - destination: {host: ratings}\n      weight: 5\n",
            &["bad.yaml:9:", "spec.http[0].route[0].weight", "-5"],
        ),
        (
            "twice",
            "apiVersion: v1\nkind: Service\nmetadata: {name: reviews, namespace: bookinfo}\nspec:\n  ports: [{port: 9080}]\n",
            &["Service bookinfo/reviews", "reviews.yaml:"],
        ),
    ];
    for (name, text, parts) in cases {
        let dir = tempfile::tempdir().expect("directory");
        for entry in fs::read_dir(bookinfo()).expect("example").flatten() {
            if entry.path().extension().is_some_and(|extension| extension == "yaml") {
                fs::copy(entry.path(), dir.path().join(entry.file_name())).expect("copied");
            }
        }
        fs::write(dir.path().join("bad.yaml"), text).expect("written");
        let address = free_address().expect("address").to_string();
        let output = refused(dir.path(), &address);
        for part in parts {
            assert!(said(&output).contains(part), "{name}: no {part:?} in {}", said(&output));
        }
    }
    let output = refused(Path::new("/nonexistent"), "127.0.0.1:1");
    assert!(said(&output).contains("/nonexistent"), "{}", said(&output));
}

#[test]
fn a_port_that_is_taken_is_named() {
    let Some(_turn) = turn() else { return };
    let taken = TcpListener::bind("127.0.0.1:0").expect("socket");
    let address = taken.local_addr().expect("address").to_string();
    let output = refused(&bookinfo(), &address);
    let port = taken.local_addr().expect("address").port().to_string();
    assert!(said(&output).contains(&port), "{}", said(&output));
    assert!(said(&output).contains("--gateway-address"), "{}", said(&output));
}

/// A user namespace in which no other may be made.
#[test]
fn without_user_namespaces_it_says_so() {
    let Some(_turn) = turn() else { return };
    let dir = bookinfo();
    let state = tempfile::Builder::new().prefix("mz").tempdir_in("/tmp").expect("directory");
    let command = format!(
        "echo 0 > /proc/sys/user/max_user_namespaces && exec {} up {} --gateway-address {} --state-dir {}",
        mizzen().display(),
        dir.display(),
        free_address().expect("address"),
        state.path().join("s").display()
    );
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "sh", "-c", &command])
        .stdin(Stdio::null())
        .output()
        .expect("unshare");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(said(&output).contains("max_user_namespaces"), "{}", said(&output));
}

#[test]
fn bad_edits_leave_the_mesh_as_it_was() {
    let Some(_turn) = turn() else { return };
    let mesh = up(&[]);
    let serves = |mesh: &Mesh| get(mesh, "/productpage").status == 200;
    // A host that does not exist is a warning, as in Istio: the route answers 503 if it is used.
    mesh.write(
        "nowhere.yaml",
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata:\n  name: nowhere\n  namespace: bookinfo\n\
         spec:\n  hosts: [nowhere.example.com]\n  http:\n  - route:\n    - destination:\n        host: nobody\n",
    )
    .expect("edit");
    wait_until(Duration::from_secs(3), "the missing host is named", || {
        mesh.printed().lines().any(|line| line.contains("nowhere.yaml") && line.contains("nobody"))
    });
    // A command that does not exist.
    let details = fs::read_to_string(mesh.dir.join("details.yaml")).expect("file");
    let broken = details
        .replace("name: details-v1", "name: details-v9")
        .replace("version: v1", "version: v9")
        .replace("[\"mizzen\", ", "[\"no-such-program\", ");
    let deployment = broken.split("---").find(|part| part.contains("kind: Deployment"));
    mesh.write("details-v9.yaml", deployment.expect("a Deployment")).expect("edit");
    wait_until(Duration::from_secs(10), "the missing command is named", || {
        let status = mesh.ask(&["status"]).unwrap_or_default();
        status.contains("no-such-program") || mesh.printed().contains("no-such-program")
    });
    assert!(serves(&mesh));
    // A file that is torn, and one that is no text.
    mesh.write("torn.yaml", "apiVersion: v1\nkind: Serv").expect("edit");
    fs::write(mesh.dir.join("binary.yaml"), [0xff, 0xfe, 0x00, 0x9f]).expect("written");
    wait_until(Duration::from_secs(3), "both are named", || {
        mesh.printed().contains("torn.yaml:") && mesh.printed().contains("binary.yaml")
    });
    assert!(serves(&mesh));
}
