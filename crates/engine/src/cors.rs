//! Cross-origin resource sharing: which origins a policy lets in.

use crate::{EngineError, StringMatcher};

/// A compiled [`xds::CorsPolicy`].
#[derive(Clone, Debug)]
pub struct Cors {
    /// As it came.
    pub policy: xds::CorsPolicy,
    any: bool,
    origins: Vec<StringMatcher>,
}

impl Cors {
    /// Compiles a policy.
    ///
    /// # Errors
    /// When it holds a regex that is not valid.
    pub fn new(policy: &xds::CorsPolicy) -> Result<Self, EngineError> {
        let origins = &policy.allow_origin;
        Ok(Self {
            // `*` allows every origin, as Envoy reads an exact match of it.
            any: origins.iter().any(|one| one.pattern == xds::StringPattern::Exact("*".to_owned())),
            origins: origins
                .iter()
                .map(StringMatcher::new)
                .collect::<Result<_, _>>()
                .map_err(|error| error.within("allow_origin_string_match"))?,
            policy: policy.clone(),
        })
    }

    /// Whether an `Origin` is let in.
    pub fn allows(&self, origin: &str) -> bool {
        self.any || self.origins.iter().any(|one| one.matches(origin))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins() {
        let cors = |allow_origin| {
            Cors::new(&xds::CorsPolicy { allow_origin, ..xds::CorsPolicy::default() })
        };
        let some = cors(vec![
            xds::StringMatcher::exact("https://a.b"),
            xds::StringMatcher::regex("https://[a-z]+\\.c"),
        ]);
        let some = some.expect("policy");
        assert!(some.allows("https://a.b") && some.allows("https://x.c"));
        assert!(!some.allows("https://a.b.evil") && !some.allows("https://x.c.evil"));
        let any = cors(vec![xds::StringMatcher::exact("*")]).expect("policy");
        assert!(any.allows("null"));
        assert!(cors(vec![xds::StringMatcher::regex("(")]).is_err());
    }
}
