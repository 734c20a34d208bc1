//! The CA's directory, with the file names of Istio's `cacerts`: `ca-cert.pem`, `ca-key.pem`,
//! `root-cert.pem`, `cert-chain.pem`.
//!
//! The key is written last, so a directory with a key is complete. Each file appears whole.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::time::SystemTime;

use super::{Ca, CaError};

const CERT: &str = "ca-cert.pem";
const KEY: &str = "ca-key.pem";
const ROOT: &str = "root-cert.pem";
const CHAIN: &str = "cert-chain.pem";

/// Loads the CA of a directory, or makes a self-signed one there when it has none.
///
/// # Errors
/// When files are missing, unreadable or do not fit together, or cannot be written. A directory
/// with certificates but no key is never written over.
pub fn load_or_create(dir: &Path, trust_domain: &str, now: SystemTime) -> Result<Ca, CaError> {
    if dir.join(KEY).exists() {
        return load(dir);
    }
    if let Some(found) = [CERT, ROOT, CHAIN].into_iter().find(|name| dir.join(name).exists()) {
        return Err(CaError::Material {
            what: dir.display().to_string(),
            error: format!("has {found} but no {KEY}: add the key, or remove {found} for a new CA"),
        });
    }
    create(dir, trust_domain, now)
}

fn load(dir: &Path) -> Result<Ca, CaError> {
    let root = read(dir, ROOT)?;
    let chain = if dir.join(CHAIN).exists() { read(dir, CHAIN)? } else { String::new() };
    let cert = match dir.join(CERT).exists() {
        true => read(dir, CERT)?,
        false if chain.is_empty() => root.clone(),
        false => chain.clone(),
    };
    warn_of_mode(&dir.join(KEY));
    Ca::from_pem(&cert, &chain, &root, &read(dir, KEY)?)
}

/// A key that others can read is used all the same: a mounted Secret may have such a mode.
fn warn_of_mode(key: &Path) {
    match fs::metadata(key).map(|metadata| metadata.permissions().mode()) {
        Ok(mode) if mode & 0o077 != 0 => tracing::warn!(
            key = %key.display(),
            mode = format!("{:o}", mode & 0o777),
            "other users of this machine may read the CA's key: chmod 600 it"
        ),
        Ok(_) => {}
        // Reading the file will say why.
        Err(error) => {
            tracing::debug!(key = %key.display(), %error, "cannot look at the key's mode")
        }
    }
}

fn create(dir: &Path, trust_domain: &str, now: SystemTime) -> Result<Ca, CaError> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(|error| file_error(dir, error))?;
    let ca = Ca::self_signed(trust_domain, now)?;
    let root = ca.roots().to_pem();
    write(dir, ROOT, &root, 0o644)?;
    write(dir, CHAIN, &root, 0o644)?;
    write(dir, CERT, &ca.certificate_pem(), 0o644)?;
    write(dir, KEY, ca.key_pem(), 0o600)?;
    Ok(ca)
}

fn read(dir: &Path, name: &str) -> Result<String, CaError> {
    let path = dir.join(name);
    fs::read_to_string(&path).map_err(|error| file_error(&path, error))
}

fn write(dir: &Path, name: &str, text: &str, mode: u32) -> Result<(), CaError> {
    let path = dir.join(name);
    let fresh = dir.join(format!(".{name}.{}", std::process::id()));
    let result = (|| {
        // A file that is there already would keep its own mode.
        match fs::remove_file(&fresh) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&fresh)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&fresh, &path)
    })();
    result.map_err(|error| {
        if let Err(error) = fs::remove_file(&fresh) {
            tracing::debug!(file = %fresh.display(), %error, "a half-written file stays");
        }
        file_error(&path, error)
    })
}

fn file_error(path: &Path, error: std::io::Error) -> CaError {
    CaError::File { path: path.display().to_string(), error }
}
