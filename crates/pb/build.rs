//! Generates Rust from the `.proto` files that the crate `envoy-types` ships, and from Istio's few
//! messages in `proto/`. Nothing is copied into the repository: the files are found through cargo.

use std::{
    collections::BTreeSet,
    env,
    error::Error,
    fs,
    path::{Path, PathBuf},
};

use prost::Message as _;
use protox::file::{File, FileResolver, GoogleFileResolver};

/// The definitions that Mizzen uses; what they import comes along.
const ROOTS: &[&str] = &[
    "envoy/admin/v3/certs.proto",
    "envoy/admin/v3/clusters.proto",
    "envoy/admin/v3/config_dump.proto",
    "envoy/admin/v3/listeners.proto",
    "envoy/admin/v3/server_info.proto",
    "envoy/config/bootstrap/v3/bootstrap.proto",
    "envoy/config/cluster/v3/cluster.proto",
    "envoy/config/endpoint/v3/endpoint.proto",
    "envoy/config/listener/v3/listener.proto",
    "envoy/config/rbac/v3/rbac.proto",
    "envoy/config/route/v3/route.proto",
    "envoy/extensions/access_loggers/file/v3/file.proto",
    "envoy/extensions/access_loggers/stream/v3/stream.proto",
    "envoy/extensions/filters/http/cors/v3/cors.proto",
    "envoy/extensions/filters/http/fault/v3/fault.proto",
    "envoy/extensions/filters/http/grpc_stats/v3/config.proto",
    "envoy/extensions/filters/http/rbac/v3/rbac.proto",
    "envoy/extensions/filters/http/router/v3/router.proto",
    "envoy/extensions/filters/listener/http_inspector/v3/http_inspector.proto",
    "envoy/extensions/filters/listener/original_dst/v3/original_dst.proto",
    "envoy/extensions/filters/listener/proxy_protocol/v3/proxy_protocol.proto",
    "envoy/extensions/filters/listener/tls_inspector/v3/tls_inspector.proto",
    "envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.proto",
    "envoy/extensions/filters/network/rbac/v3/rbac.proto",
    "envoy/extensions/filters/network/tcp_proxy/v3/tcp_proxy.proto",
    "envoy/extensions/request_id/uuid/v3/uuid.proto",
    "envoy/extensions/retry/host/previous_hosts/v3/previous_hosts.proto",
    "envoy/extensions/transport_sockets/raw_buffer/v3/raw_buffer.proto",
    "envoy/extensions/transport_sockets/tls/v3/tls.proto",
    "envoy/extensions/upstreams/http/v3/http_protocol_options.proto",
    "envoy/service/discovery/v3/ads.proto",
    "envoy/service/secret/v3/sds.proto",
    "envoy/service/status/v3/csds.proto",
    "google/rpc/status.proto",
];

/// Istio's own messages: wire facts (package, names, numbers), written by us.
const OWN: &[&str] = &[
    "istio/ca.proto",
    "istio/nds.proto",
    "istio/alpn.proto",
    "istio/stats.proto",
    "istio/metadata_exchange.proto",
    "istio/peer_metadata.proto",
];

/// Configuration of extensions as free structures; known by its definition only.
const STRUCTS: &[&str] = &["xds/type/v3/typed_struct.proto", "udpa/type/v1/typed_struct.proto"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=proto");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let shipped = envoy_types()?.join("proto");
    let includes: Vec<PathBuf> = [
        "data-plane-api",
        "xds",
        "protoc-gen-validate",
        "googleapis",
        "cel-spec/proto",
        "client_model",
        "opentelemetry-proto",
        "ratelimit/api",
    ]
    .iter()
    .map(|dir| shipped.join(dir))
    .chain([PathBuf::from("proto")])
    .collect();

    let extensions = extensions(&shipped.join("data-plane-api"));

    let mut compiler = protox::Compiler::new(&includes)?;
    compiler.include_imports(true).include_source_info(false);
    compiler.open_files(ROOTS.iter().chain(OWN))?;
    let descriptors = compiler.file_descriptor_set();
    // Rust is generated for what Mizzen uses; the rest is known by its definition only.
    let mut all = protox::Compiler::with_file_resolver(Qualified::new(includes)?);
    all.include_imports(true).include_source_info(false);
    all.open_files(extensions.iter().map(String::as_str).chain(STRUCTS.iter().copied()))?;
    let mut known = descriptors.clone();
    for file in all.file_descriptor_set().file {
        if !known.file.iter().any(|known| known.name() == file.name()) {
            known.file.push(file);
        }
    }
    fs::write(out.join("descriptors.bin"), known.encode_to_vec())?;

    let mut config = tonic_prost_build::Config::new();
    config
        .enable_type_names()
        .type_name_domain(["."], "type.googleapis.com")
        .btree_map(["."])
        .include_file("all.rs");
    tonic_prost_build::configure().compile_fds_with_config(descriptors, config)?;
    Ok(())
}

/// Opens definitions with every relative name of a type made absolute. protox takes the first part
/// of a name for the innermost scope that begins so, whether the rest is there or not.
struct Qualified {
    includes: Vec<PathBuf>,
    packages: BTreeSet<String>,
    google: GoogleFileResolver,
}

impl Qualified {
    fn new(includes: Vec<PathBuf>) -> Result<Self, Box<dyn Error>> {
        let mut packages = BTreeSet::new();
        for file in includes.iter().flat_map(|root| protos(root.clone())) {
            packages.extend(package(&fs::read_to_string(file)?).map(str::to_owned));
        }
        Ok(Self { includes, packages, google: GoogleFileResolver::new() })
    }

    /// The name from its root on, with a dot before it, when it is relative to `scope`.
    fn absolute(&self, scope: &str, name: &str) -> Option<String> {
        let is_type = |part: &&str| part.starts_with(char::is_uppercase);
        let of_package: Vec<&str> = name.split('.').take_while(|part| !is_type(part)).collect();
        if of_package.is_empty() || !name.split('.').any(|part| is_type(&part)) {
            return None;
        }
        let mut scope = Some(scope);
        while let Some(outer) = scope {
            if self.packages.contains(&format!("{outer}.{}", of_package.join("."))) {
                return Some(format!(".{outer}.{name}"));
            }
            scope = outer.rsplit_once('.').map(|(outer, _)| outer);
        }
        None
    }

    fn qualify(&self, text: &str) -> String {
        let scope = package(text).unwrap_or_default();
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
        let (mut out, mut rest, mut before) = (String::new(), text, ' ');
        while let Some(first) = rest.chars().next() {
            let end = rest.find(|c| !is_name(c)).unwrap_or(rest.len()).max(first.len_utf8());
            let (word, next) = rest.split_at(end);
            match self.absolute(scope, word) {
                Some(name) if before == ' ' || before == '<' => out.push_str(&name),
                _ => out.push_str(word),
            }
            (before, rest) = (word.chars().last().unwrap_or(' '), next);
        }
        out
    }
}

impl FileResolver for Qualified {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        let path = self.includes.iter().map(|root| root.join(name)).find(|path| path.is_file());
        let Some(path) = path else { return self.google.open_file(name) };
        let text = fs::read_to_string(path).map_err(protox::Error::new)?;
        File::from_source(name, &self.qualify(&text))
    }
}

/// The package that a definition is in.
fn package(text: &str) -> Option<&str> {
    let mut lines = text.lines().map(str::trim);
    lines.find_map(|line| line.strip_prefix("package ")?.strip_suffix(';')).map(str::trim)
}

/// All definitions below a folder, sorted.
fn protos(folder: PathBuf) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder];
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "proto") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// Every definition of an Envoy extension: what users may name in an EnvoyFilter.
fn extensions(root: &Path) -> Vec<String> {
    let folders = ["envoy/extensions", "envoy/type"].map(|folder| root.join(folder));
    let files = folders.into_iter().flat_map(protos);
    files.filter_map(|path| Some(path.strip_prefix(root).ok()?.display().to_string())).collect()
}

/// Where cargo unpacked the source of `envoy-types`. A first build has not fetched it: what is not
/// compiled is not downloaded, so `cargo metadata` is asked to.
fn envoy_types() -> Result<PathBuf, Box<dyn Error>> {
    let manifest = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("Cargo.toml");
    let platform = env::var("HOST")?;
    let ask = |more: &[&str]| {
        let options = ["--locked", "--filter-platform", &platform];
        cargo_metadata::MetadataCommand::new()
            .manifest_path(&manifest)
            .features(cargo_metadata::CargoOpt::SomeFeatures(vec!["definitions".to_owned()]))
            .other_options(
                options.iter().chain(more).map(|&option| option.to_owned()).collect::<Vec<_>>(),
            )
            .exec()
    };
    let metadata = ask(&["--offline"]).or_else(|_| ask(&[]))?;
    let package = metadata
        .packages
        .iter()
        .find(|package| package.name.as_str() == "envoy-types")
        .ok_or("cargo metadata does not list envoy-types")?;
    let manifest = package.manifest_path.as_std_path();
    Ok(manifest.parent().ok_or("envoy-types has no folder")?.to_owned())
}
