//! What a request may ask of the router by Envoy's headers: times and retries. At an edge they were
//! removed before. They are not sent on.

use std::{borrow::Cow, time::Duration};

use http::{HeaderMap, HeaderName};

use super::super::headers;

/// The time that the request asks for; the inner `None`: none at all.
pub(super) fn timeout(map: &mut HeaderMap) -> Option<Option<Duration>> {
    let asked = millis(map, &headers::TIMEOUT)?;
    Some((!asked.is_zero()).then_some(asked))
}

/// The route's retry policy with what the request asks for besides.
pub(super) fn retry_policy<'a>(
    map: &mut HeaderMap,
    route: Option<&'a engine::RetryPolicy>,
) -> Option<Cow<'a, engine::RetryPolicy>> {
    let per_try = millis(map, &headers::PER_TRY_TIMEOUT);
    let max = map.remove(headers::MAX_RETRIES);
    let max = max.and_then(|value| value.to_str().ok()?.trim().parse::<u32>().ok());
    let mut conditions = [map.remove(headers::RETRY_ON), map.remove(headers::RETRY_GRPC_ON)]
        .into_iter()
        .flatten()
        .filter_map(|value| Some(engine::RetryOn::parse(value.to_str().ok()?)))
        .reduce(engine::RetryOn::union);
    let mut policy = match (route, conditions) {
        (Some(route), _) => Cow::Borrowed(route),
        (None, None) => return None,
        (None, Some(conditions)) => Cow::Owned(new_policy(conditions)?),
    };
    if let Some(conditions) = conditions.take() {
        let policy = policy.to_mut();
        policy.retry_on = policy.retry_on.union(conditions);
    }
    if let Some(max) = max {
        policy.to_mut().num_retries = max;
    }
    if let Some(per_try) = per_try {
        policy.to_mut().per_try_timeout = (!per_try.is_zero()).then_some(per_try);
    }
    (policy.num_retries > 0).then_some(policy)
}

fn new_policy(conditions: engine::RetryOn) -> Option<engine::RetryPolicy> {
    let mut policy = engine::RetryPolicy::new(&xds::RetryPolicy::default()).ok()?;
    policy.retry_on = conditions;
    Some(policy)
}

fn millis(map: &mut HeaderMap, name: &HeaderName) -> Option<Duration> {
    let value = map.remove(name)?;
    // Ten digits are 115 days: more is a mistake, and may overflow a clock.
    let text = value.to_str().ok().filter(|text| text.len() <= 10)?;
    text.trim().parse().ok().map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn map(headers: &[(&'static str, &'static str)]) -> HeaderMap {
        headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn requests_ask_for_retries_and_times() {
        let mut asked = map(&[
            ("x-envoy-retry-on", "5xx"),
            ("x-envoy-max-retries", "3"),
            ("x-envoy-upstream-rq-per-try-timeout-ms", "20"),
            ("x-envoy-upstream-rq-timeout-ms", "100"),
        ]);
        assert_eq!(timeout(&mut asked), Some(Some(Duration::from_millis(100))));
        let policy = retry_policy(&mut asked, None).unwrap();
        assert_eq!(policy.num_retries, 3);
        assert_eq!(policy.per_try_timeout, Some(Duration::from_millis(20)));
        assert!(policy.retry_on.intersects(engine::RetryOn::FIVE_XX));
        assert!(asked.is_empty());
    }

    #[test]
    fn nonsense_asks_for_nothing() {
        let mut asked = map(&[
            ("x-envoy-upstream-rq-timeout-ms", "99999999999999999999"),
            ("x-envoy-max-retries", "-1"),
        ]);
        assert_eq!(timeout(&mut asked), None);
        assert!(retry_policy(&mut asked, None).is_none());
        let mut none = map(&[("x-envoy-max-retries", "0")]);
        let route = new_policy(engine::RetryOn::RESET).unwrap();
        assert!(retry_policy(&mut none, Some(&route)).is_none());
    }
}
