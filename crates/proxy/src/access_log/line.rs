//! One log: its filter and its format.

use http::HeaderName;

use super::LogPath;
use crate::{
    facts::Facts,
    flags::Flags,
    format::{Scope, Template},
};

/// Envoy's default format, from its documentation of access logs.
const DEFAULT: &str = "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% \
%PROTOCOL%\" %RESPONSE_CODE% %RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %DURATION% \
%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% \"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" \
\"%REQ(X-REQUEST-ID)%\" \"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\"\n";

/// A compiled [`xds::AccessLog`].
#[derive(Clone, Debug)]
pub(crate) struct AccessLog {
    path: LogPath,
    format: Format,
    filter: Option<Filter>,
}

#[derive(Clone, Debug)]
enum Format {
    Text(Template),
    Json(Json),
}

#[derive(Clone, Debug)]
enum Json {
    Text(Template),
    Fields(Vec<(String, Json)>),
    Fixed(String),
}

#[derive(Clone, Debug)]
enum Filter {
    /// Any of these; an empty list: any flag at all.
    Flags(Vec<Flags>),
    StatusAtLeast(u32),
    StatusAtMost(u32),
    And(Vec<Filter>),
    Or(Vec<Filter>),
}

impl AccessLog {
    /// Compiles a log.
    ///
    /// # Errors
    /// What is wrong with its format.
    pub(crate) fn new(log: &xds::AccessLog) -> Result<Self, String> {
        let format = match &log.format {
            xds::AccessLogFormat::Default => Format::Text(Template::parse(DEFAULT)?),
            xds::AccessLogFormat::Text(text) => Format::Text(Template::parse(text)?),
            xds::AccessLogFormat::Json(fields) => Format::Json(json(fields)?),
        };
        let filter = log.filter.as_ref().map(Filter::new);
        Ok(Self { path: log.path.as_str().into(), format, filter })
    }

    pub(super) fn path(&self) -> &LogPath {
        &self.path
    }

    /// Whether a request or connection is logged.
    pub(super) fn wants(&self, facts: &Facts) -> bool {
        self.filter.as_ref().is_none_or(|filter| filter.wants(facts))
    }

    /// Request headers that lines show.
    pub(crate) fn request_headers(&self) -> Vec<HeaderName> {
        self.templates().iter().flat_map(|template| template.request_headers()).collect()
    }

    /// Response headers that lines show.
    pub(crate) fn response_headers(&self) -> Vec<HeaderName> {
        self.templates().iter().flat_map(|template| template.response_headers()).collect()
    }

    fn templates(&self) -> Vec<&Template> {
        match &self.format {
            Format::Text(template) => vec![template],
            Format::Json(json) => json.templates(),
        }
    }

    /// Appends a line.
    pub(super) fn write(&self, scope: &Scope<'_>, line: &mut String) {
        match &self.format {
            Format::Text(template) => template.write(scope, "-", escape_text, line),
            Format::Json(json) => {
                json.write(scope, line);
                line.push('\n');
            }
        }
    }
}

impl Filter {
    fn new(filter: &xds::AccessLogFilter) -> Self {
        match filter {
            xds::AccessLogFilter::ResponseFlags(names) => {
                Self::Flags(names.iter().filter_map(|name| Flags::from_name(name)).collect())
            }
            xds::AccessLogFilter::StatusCodeAtLeast(code) => Self::StatusAtLeast(*code),
            xds::AccessLogFilter::StatusCodeAtMost(code) => Self::StatusAtMost(*code),
            xds::AccessLogFilter::And(list) => Self::And(list.iter().map(Self::new).collect()),
            xds::AccessLogFilter::Or(list) => Self::Or(list.iter().map(Self::new).collect()),
        }
    }

    fn wants(&self, facts: &Facts) -> bool {
        match self {
            Self::Flags(flags) if flags.is_empty() => !facts.flags.is_empty(),
            Self::Flags(flags) => flags.iter().any(|flag| facts.flags.contains(*flag)),
            Self::StatusAtLeast(code) => u32::from(facts.code) >= *code,
            Self::StatusAtMost(code) => u32::from(facts.code) <= *code,
            Self::And(list) => list.iter().all(|filter| filter.wants(facts)),
            Self::Or(list) => list.iter().any(|filter| filter.wants(facts)),
        }
    }
}

fn json(fields: &xds::Struct) -> Result<Json, String> {
    let fields = fields.iter().map(|(name, value)| Ok((name.clone(), json_value(value)?)));
    Ok(Json::Fields(fields.collect::<Result<_, String>>()?))
}

fn json_value(value: &xds::Value) -> Result<Json, String> {
    Ok(match value {
        xds::Value::String(text) => Json::Text(Template::parse(text)?),
        xds::Value::Struct(fields) => json(fields)?,
        xds::Value::Null => Json::Fixed("null".to_owned()),
        xds::Value::Bool(value) => Json::Fixed(value.to_string()),
        xds::Value::Number(bits) => Json::Fixed(f64::from_bits(*bits).to_string()),
        xds::Value::List(_) => return Err("lists are not supported in JSON formats".to_owned()),
    })
}

impl Json {
    fn templates(&self) -> Vec<&Template> {
        match self {
            Self::Text(template) => vec![template],
            Self::Fields(fields) => {
                fields.iter().flat_map(|(_, value)| value.templates()).collect()
            }
            Self::Fixed(_) => Vec::new(),
        }
    }

    fn write(&self, scope: &Scope<'_>, line: &mut String) {
        match self {
            Self::Fixed(text) => line.push_str(text),
            Self::Text(template) => {
                let mut value = String::new();
                template.write(scope, "", push, &mut value);
                if value.is_empty() {
                    line.push_str("null");
                } else {
                    quote(&value, line);
                }
            }
            Self::Fields(fields) => {
                line.push('{');
                for (index, (name, value)) in fields.iter().enumerate() {
                    if index > 0 {
                        line.push(',');
                    }
                    quote(name, line);
                    line.push(':');
                    value.write(scope, line);
                }
                line.push('}');
            }
        }
    }
}

fn push(text: &str, out: &mut String) {
    out.push_str(text);
}

fn quote(text: &str, out: &mut String) {
    out.push_str(&serde_json::Value::from(text).to_string());
}

/// Keeps what comes from outside from ending a line or a quoted field.
fn escape_text(text: &str, out: &mut String) {
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            other if other.is_control() => out.extend(other.escape_unicode()),
            other => out.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outside_text_cannot_forge_a_line() {
        let mut out = String::new();
        escape_text("a\"b\r\n[forged]\u{1b}[31m", &mut out);
        assert_eq!(out, "a\\\"b\\r\\n[forged]\\u{1b}[31m");
    }

    #[test]
    fn formats_are_checked_when_they_arrive() {
        let log = |format| xds::AccessLog { path: "/dev/stdout".into(), format, filter: None };
        assert!(AccessLog::new(&log(xds::AccessLogFormat::Default)).is_ok());
        let json = [("a".to_owned(), "%REQ(x)% %RESP(y)%".into())].into();
        let compiled = AccessLog::new(&log(xds::AccessLogFormat::Json(json))).unwrap();
        assert_eq!(compiled.request_headers().len() + compiled.response_headers().len(), 2);
        assert!(AccessLog::new(&log(xds::AccessLogFormat::Text("%X%".into()))).is_err());
    }
}
