//! The part of CEL that access log filters are mostly written in: comparisons of the response's
//! status, with `&&`, `||` and parentheses.

use xds::AccessLogFilter;

/// Why an expression cannot be translated.
pub(super) const UNSUPPORTED: &str = "only comparisons of response.code with numbers, joined by \
                                      && and ||, are supported yet";

/// Deepest nesting of parentheses.
const MAX_DEPTH: usize = 32;

/// The filter that an expression asks for; none when it is not of the supported part.
pub(super) fn filter(expression: &str) -> Option<AccessLogFilter> {
    let mut parser = Parser { rest: expression, depth: 0 };
    let filter = parser.either()?;
    parser.rest.trim_start().is_empty().then_some(filter)
}

struct Parser<'a> {
    rest: &'a str,
    depth: usize,
}

impl Parser<'_> {
    fn take(&mut self, token: &str) -> bool {
        let rest = self.rest.trim_start().strip_prefix(token);
        if let Some(rest) = rest {
            self.rest = rest;
        }
        rest.is_some()
    }

    fn either(&mut self) -> Option<AccessLogFilter> {
        let mut list = vec![self.both()?];
        while self.take("||") {
            list.push(self.both()?);
        }
        one_or(list, AccessLogFilter::Or)
    }

    fn both(&mut self) -> Option<AccessLogFilter> {
        let mut list = vec![self.single()?];
        while self.take("&&") {
            list.push(self.single()?);
        }
        one_or(list, AccessLogFilter::And)
    }

    fn single(&mut self) -> Option<AccessLogFilter> {
        if !self.take("(") {
            return self.comparison();
        }
        self.depth += 1;
        let inner = if self.depth > MAX_DEPTH { None } else { self.either() };
        self.depth -= 1;
        inner.filter(|_| self.take(")"))
    }

    fn comparison(&mut self) -> Option<AccessLogFilter> {
        if !self.take("response.code") {
            return None;
        }
        let operators = [">=", "<=", "==", "!=", ">", "<"];
        let operator = operators.into_iter().find(|operator| self.take(operator))?;
        let text = self.rest.trim_start();
        let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (digits, rest) = text.split_at(end);
        let code: u32 = digits.parse().ok().filter(|code| *code < 1000)?;
        self.rest = rest;
        let (at_least, at_most) =
            (AccessLogFilter::StatusCodeAtLeast, AccessLogFilter::StatusCodeAtMost);
        let never = || AccessLogFilter::And(vec![at_least(1000), at_most(0)]);
        Some(match operator {
            ">=" => at_least(code),
            "<=" => at_most(code),
            ">" => at_least(code + 1),
            "<" => code.checked_sub(1).map_or_else(never, at_most),
            "==" => AccessLogFilter::And(vec![at_least(code), at_most(code)]),
            _ => match code.checked_sub(1) {
                Some(below) => AccessLogFilter::Or(vec![at_most(below), at_least(code + 1)]),
                None => at_least(1),
            },
        })
    }
}

fn one_or(
    mut list: Vec<AccessLogFilter>,
    all: fn(Vec<AccessLogFilter>) -> AccessLogFilter,
) -> Option<AccessLogFilter> {
    if list.len() > 1 { Some(all(list)) } else { list.pop() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a filter says of a status.
    fn wants(filter: &AccessLogFilter, code: u32) -> bool {
        match filter {
            AccessLogFilter::StatusCodeAtLeast(bound) => code >= *bound,
            AccessLogFilter::StatusCodeAtMost(bound) => code <= *bound,
            AccessLogFilter::And(list) => list.iter().all(|filter| wants(filter, code)),
            AccessLogFilter::Or(list) => list.iter().any(|filter| wants(filter, code)),
            AccessLogFilter::ResponseFlags(_) => false,
        }
    }

    #[test]
    fn comparisons_mean_what_they_say() {
        type Case = (&'static str, fn(u32) -> bool);
        let cases: [Case; 9] = [
            ("response.code >= 400", |c| c >= 400),
            ("response.code>400", |c| c > 400),
            ("response.code < 300", |c| c < 300),
            ("response.code <= 0", |c| c == 0),
            ("response.code < 0", |_| false),
            ("response.code != 200", |c| c != 200),
            ("response.code == 503 || response.code == 200", |c| c == 503 || c == 200),
            ("response.code >= 400 && response.code < 500 || response.code == 0", |c| {
                (400..500).contains(&c) || c == 0
            }),
            ("(response.code != 200 && (response.code != 404))", |c| c != 200 && c != 404),
        ];
        for (text, expected) in cases {
            let filter = filter(text).unwrap_or(AccessLogFilter::ResponseFlags(Vec::new()));
            for code in [0, 100, 200, 299, 300, 399, 400, 401, 404, 499, 500, 503, 599] {
                assert_eq!(wants(&filter, code), expected(code), "{text} {code}");
            }
        }
    }

    #[test]
    fn the_rest_of_cel_is_not_misread() {
        for text in [
            "",
            "response.code",
            "response.code >=",
            "response.code >= x",
            "response.codes > 1",
            "response.code >= 400)",
            "(response.code >= 400",
            "!(response.code >= 400)",
            "response.code >= 400 & true",
            "connection.mtls",
            "response.code >= 99999999999",
            "response.code >= 40.5",
            "response.code >= 400u",
        ] {
            assert_eq!(filter(text), None, "{text}");
        }
        assert_eq!(filter(&("(".repeat(10_000) + "response.code > 1")), None);
    }
}
