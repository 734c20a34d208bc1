//! ProxyConfig: names of the environment, and what no proxy here has.

use super::checks;
use crate::{
    networking::ProxyConfig,
    report::Report,
    yaml::{Path, excerpt},
};

pub(crate) fn check(config: &ProxyConfig, path: &Path<'_>, report: &mut Report<'_>) {
    if let Some(selector) = &config.selector {
        let path = path.field("selector");
        checks::selector(&selector.match_labels, &path.field("matchLabels"), report);
    }
    let list = path.field("environmentVariables");
    for name in config.environment_variables.keys() {
        let ok = |b: u8| b.is_ascii_graphic() && b != b'=';
        if name.is_empty() || !name.bytes().all(ok) {
            let message = format!("\"{}\" is not the name of a variable", excerpt(name));
            report.error(&list.field(name), "invalid-value", message);
        }
    }
    if config.image.is_some() {
        let message = "proxies here are not started from images: the image has no effect";
        report.warning(&path.field("image"), "no-effect", message);
    }
}
