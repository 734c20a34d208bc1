//! What decisions know of a request.

use http::HeaderMap;

/// A request as matchers see it.
#[derive(Clone, Copy, Debug)]
pub struct RequestInfo<'a> {
    /// `:authority` or `Host`.
    pub authority: &'a str,
    /// `:path`: path and query.
    pub path: &'a str,
    /// `:method`.
    pub method: &'a str,
    /// `:scheme`.
    pub scheme: &'a str,
    /// All other headers.
    pub headers: &'a HeaderMap,
}

impl<'a> RequestInfo<'a> {
    /// The path without query and fragment.
    pub fn path_only(&self) -> &'a str {
        let end = self.path.find(['?', '#']).unwrap_or(self.path.len());
        &self.path[..end]
    }

    /// The query without `?` and fragment, if there is one.
    pub fn query(&self) -> Option<&'a str> {
        let before_fragment = self.path.split('#').next().unwrap_or_default();
        before_fragment.split_once('?').map(|(_, query)| query)
    }
}
