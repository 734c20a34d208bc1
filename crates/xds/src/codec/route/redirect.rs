//! Redirects.

use pb::envoy::config::route::v3::{
    RedirectAction,
    redirect_action::{PathRewriteSpecifier, RedirectResponseCode, SchemeRewriteSpecifier},
};

use crate::{
    Redirect, RedirectPath,
    codec::context::{Context, Result},
};

/// A code that cannot be encoded becomes 301.
pub(super) fn encode(value: &Redirect) -> RedirectAction {
    let code = match value.response_code {
        302 => RedirectResponseCode::Found,
        303 => RedirectResponseCode::SeeOther,
        307 => RedirectResponseCode::TemporaryRedirect,
        308 => RedirectResponseCode::PermanentRedirect,
        _ => RedirectResponseCode::MovedPermanently,
    };
    let scheme = (!value.scheme.is_empty())
        .then(|| SchemeRewriteSpecifier::SchemeRedirect(value.scheme.clone()));
    let path = match &value.path {
        RedirectPath::Keep => None,
        RedirectPath::Full(path) => Some(PathRewriteSpecifier::PathRedirect(path.clone())),
        RedirectPath::Prefix(prefix) => Some(PathRewriteSpecifier::PrefixRewrite(prefix.clone())),
    };
    RedirectAction {
        host_redirect: value.host.clone(),
        port_redirect: value.port.map_or(0, u32::from),
        response_code: code.into(),
        strip_query: value.strip_query,
        scheme_rewrite_specifier: scheme,
        path_rewrite_specifier: path,
    }
}

pub(super) fn decode(message: RedirectAction, cx: &mut Context) -> Result<Redirect> {
    let RedirectAction {
        host_redirect,
        port_redirect,
        response_code,
        strip_query,
        scheme_rewrite_specifier,
        path_rewrite_specifier,
    } = message;
    let port = Some(cx.short("port_redirect", port_redirect)?).filter(|port| *port != 0);
    let response_code = match cx.enumeration("response_code", response_code)? {
        RedirectResponseCode::MovedPermanently => 301,
        RedirectResponseCode::Found => 302,
        RedirectResponseCode::SeeOther => 303,
        RedirectResponseCode::TemporaryRedirect => 307,
        RedirectResponseCode::PermanentRedirect => 308,
    };
    let scheme = match scheme_rewrite_specifier {
        Some(SchemeRewriteSpecifier::HttpsRedirect(true)) => "https".to_owned(),
        Some(SchemeRewriteSpecifier::SchemeRedirect(scheme)) => scheme,
        Some(SchemeRewriteSpecifier::HttpsRedirect(false)) | None => String::new(),
    };
    let path = match path_rewrite_specifier {
        None => RedirectPath::Keep,
        Some(PathRewriteSpecifier::PathRedirect(path)) => RedirectPath::Full(path),
        Some(PathRewriteSpecifier::PrefixRewrite(prefix)) => RedirectPath::Prefix(prefix),
        Some(PathRewriteSpecifier::RegexRewrite(_)) => {
            return cx.fail_at("regex_rewrite", "is not supported");
        }
        Some(PathRewriteSpecifier::PathRewrite(_)) => {
            return cx.fail_at("path_rewrite", "is not supported");
        }
    };
    Ok(Redirect { scheme, host: host_redirect, port, path, response_code, strip_query })
}
