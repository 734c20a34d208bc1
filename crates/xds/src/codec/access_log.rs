//! Access logs. They do not change what a proxy does with traffic, so a logger or filter that is
//! not known is ignored and reported, never rejected.

use pb::envoy::{
    config::{
        accesslog::v3::{
            self as accesslog, AndFilter, ComparisonFilter, OrFilter, ResponseFlagFilter,
            StatusCodeFilter, access_log, access_log_filter::FilterSpecifier,
            comparison_filter::Op,
        },
        core::v3::{RuntimeUInt32, SubstitutionFormatString, substitution_format_string::Format},
    },
    extensions::access_loggers::{
        file::v3::{FileAccessLog, file_access_log},
        stream::v3::{StderrAccessLog, StdoutAccessLog, stderr_access_log, stdout_access_log},
    },
};

use super::{
    any::{is, pack},
    context::{Context, Result, fields},
    metadata,
};
use crate::{AccessLog, AccessLogFilter, AccessLogFormat};

/// Envoy wants a runtime key where a comparison's value stands; nothing sets this one.
const RUNTIME_KEY: &str = "mizzen.access_log.threshold";

pub(super) fn encode_all(values: &[AccessLog]) -> Vec<accesslog::AccessLog> {
    values.iter().map(encode).collect()
}

fn encode(value: &AccessLog) -> accesslog::AccessLog {
    let string = |format| SubstitutionFormatString { format: Some(format), ..Default::default() };
    let format = match &value.format {
        AccessLogFormat::Default => None,
        AccessLogFormat::Text(text) => {
            Some(string(Format::TextFormatSource(metadata::inline_string(text))))
        }
        AccessLogFormat::Json(fields) => {
            Some(string(Format::JsonFormat(metadata::encode_struct(fields))))
        }
    };
    let file = FileAccessLog {
        path: value.path.clone(),
        access_log_format: format.map(file_access_log::AccessLogFormat::LogFormat),
    };
    accesslog::AccessLog {
        name: "envoy.access_loggers.file".to_owned(),
        filter: value.filter.as_ref().map(encode_filter),
        config_type: Some(access_log::ConfigType::TypedConfig(pack(&file))),
    }
}

pub(super) fn decode_all(
    field: &'static str,
    messages: Vec<accesslog::AccessLog>,
    cx: &mut Context,
) -> Result<Vec<AccessLog>> {
    Ok(cx.each(field, messages, decode)?.into_iter().flatten().collect())
}

/// None: a logger that is not known.
fn decode(message: accesslog::AccessLog, cx: &mut Context) -> Result<Option<AccessLog>> {
    let accesslog::AccessLog { name: _, filter, config_type } = message;
    let Some(access_log::ConfigType::TypedConfig(any)) = config_type else {
        return cx.fail_at("typed_config", "must be set");
    };
    let target = cx.at("typed_config", |cx| decode_target(&any, cx))?;
    let Some((path, format)) = target else {
        return Ok(None);
    };
    let filter = filter.and_then(|filter| {
        let reported = cx.ignored.len();
        cx.at("filter", |cx| decode_filter(filter, cx))
            .map_err(|error| {
                cx.ignored.truncate(reported);
                cx.ignored.push(format!("{}: {}", error.field, error.problem));
            })
            .ok()
    });
    Ok(Some(AccessLog { path, format, filter }))
}

fn decode_target(any: &pb::Any, cx: &mut Context) -> Result<Option<(String, AccessLogFormat)>> {
    Ok(Some(if is::<FileAccessLog>(any) {
        let FileAccessLog { path, access_log_format } = cx.open(any)?;
        (path, decode_file_format(access_log_format, cx)?)
    } else if is::<StdoutAccessLog>(any) {
        use stdout_access_log::AccessLogFormat::LogFormat;
        let StdoutAccessLog { access_log_format } = cx.open(any)?;
        let format = access_log_format.map(|LogFormat(format)| format);
        ("/dev/stdout".to_owned(), decode_format(format, cx)?)
    } else if is::<StderrAccessLog>(any) {
        use stderr_access_log::AccessLogFormat::LogFormat;
        let StderrAccessLog { access_log_format } = cx.open(any)?;
        let format = access_log_format.map(|LogFormat(format)| format);
        ("/dev/stderr".to_owned(), decode_format(format, cx)?)
    } else {
        cx.ignore("@type");
        return Ok(None);
    }))
}

#[expect(deprecated, reason = "the old forms mean the same")]
fn decode_file_format(
    format: Option<file_access_log::AccessLogFormat>,
    cx: &mut Context,
) -> Result<AccessLogFormat> {
    use file_access_log::AccessLogFormat as Old;
    match format {
        None => Ok(AccessLogFormat::Default),
        Some(Old::LogFormat(format)) => decode_format(Some(format), cx),
        Some(Old::Format(text)) if text.is_empty() => Ok(AccessLogFormat::Default),
        Some(Old::Format(text)) => Ok(AccessLogFormat::Text(text)),
        Some(Old::JsonFormat(fields) | Old::TypedJsonFormat(fields)) => {
            Ok(AccessLogFormat::Json(metadata::decode_struct(fields)))
        }
    }
}

#[expect(deprecated, reason = "the old form means the same")]
fn decode_format(
    format: Option<SubstitutionFormatString>,
    cx: &mut Context,
) -> Result<AccessLogFormat> {
    let Some(message) = format else {
        return Ok(AccessLogFormat::Default);
    };
    cx.at("log_format", |cx| {
        fields! {
            cx, message => SubstitutionFormatString { format }
            ignored { omit_empty_values, content_type, formatters, json_format_options }
        }
        match format {
            None => cx.fail("must have a format"),
            Some(Format::TextFormat(text)) => Ok(AccessLogFormat::Text(text)),
            Some(Format::JsonFormat(fields)) => {
                Ok(AccessLogFormat::Json(metadata::decode_struct(fields)))
            }
            Some(Format::TextFormatSource(source)) => cx.at("text_format_source", |cx| {
                let text = metadata::decode_inline(source, cx)?;
                match String::from_utf8(text) {
                    Ok(text) => Ok(AccessLogFormat::Text(text)),
                    Err(_) => cx.fail("is not UTF-8"),
                }
            }),
        }
    })
}

fn encode_filter(value: &AccessLogFilter) -> accesslog::AccessLogFilter {
    let all = |filters: &[AccessLogFilter]| filters.iter().map(encode_filter).collect();
    let specifier = match value {
        AccessLogFilter::ResponseFlags(flags) => {
            FilterSpecifier::ResponseFlagFilter(ResponseFlagFilter { flags: flags.clone() })
        }
        AccessLogFilter::StatusCodeAtLeast(code) => status(Op::Ge, *code),
        AccessLogFilter::StatusCodeAtMost(code) => status(Op::Le, *code),
        AccessLogFilter::And(filters) => {
            FilterSpecifier::AndFilter(AndFilter { filters: all(filters) })
        }
        AccessLogFilter::Or(filters) => {
            FilterSpecifier::OrFilter(OrFilter { filters: all(filters) })
        }
    };
    accesslog::AccessLogFilter { filter_specifier: Some(specifier) }
}

fn status(op: Op, code: u32) -> FilterSpecifier {
    let value = RuntimeUInt32 { default_value: code, runtime_key: RUNTIME_KEY.to_owned() };
    let comparison = ComparisonFilter { op: op.into(), value: Some(value) };
    FilterSpecifier::StatusCodeFilter(StatusCodeFilter { comparison: Some(comparison) })
}

fn decode_filter(message: accesslog::AccessLogFilter, cx: &mut Context) -> Result<AccessLogFilter> {
    let accesslog::AccessLogFilter { filter_specifier } = message;
    match filter_specifier {
        Some(FilterSpecifier::ResponseFlagFilter(ResponseFlagFilter { flags })) => {
            Ok(AccessLogFilter::ResponseFlags(flags))
        }
        Some(FilterSpecifier::StatusCodeFilter(StatusCodeFilter { comparison })) => {
            cx.at("status_code_filter", |cx| {
                cx.required("comparison", comparison, |ComparisonFilter { op, value }, cx| {
                    let code = cx.required("value", value, |value, cx| {
                        let RuntimeUInt32 { default_value, runtime_key } = value;
                        if runtime_key != RUNTIME_KEY {
                            cx.ignored("runtime_key", &runtime_key);
                        }
                        Ok(default_value)
                    })?;
                    match cx.enumeration("op", op)? {
                        Op::Ge => Ok(AccessLogFilter::StatusCodeAtLeast(code)),
                        Op::Le => Ok(AccessLogFilter::StatusCodeAtMost(code)),
                        _ => cx.fail_at("op", "only GE and LE are supported"),
                    }
                })
            })
        }
        Some(FilterSpecifier::AndFilter(AndFilter { filters })) => cx.at("and_filter", |cx| {
            Ok(AccessLogFilter::And(cx.each("filters", filters, decode_filter)?))
        }),
        Some(FilterSpecifier::OrFilter(OrFilter { filters })) => cx.at("or_filter", |cx| {
            Ok(AccessLogFilter::Or(cx.each("filters", filters, decode_filter)?))
        }),
        Some(_) => cx.fail("this kind of filter is not supported"),
        None => cx.fail("must be set"),
    }
}
