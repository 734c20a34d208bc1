//! What is done to headers on the way there and back.

use pb::envoy::config::core::v3::{
    self as core, HeaderValue, header_value_option::HeaderAppendAction,
};

use crate::{
    HeaderMutations, HeaderValueOption,
    codec::context::{Context, Result, fields},
};

/// The four fields that routes and clusters by weight have in common.
pub(super) struct Messages {
    pub(super) request_add: Vec<core::HeaderValueOption>,
    pub(super) request_remove: Vec<String>,
    pub(super) response_add: Vec<core::HeaderValueOption>,
    pub(super) response_remove: Vec<String>,
}

pub(super) fn encode(value: &HeaderMutations) -> Messages {
    Messages {
        request_add: value.request_add.iter().map(encode_option).collect(),
        request_remove: value.request_remove.clone(),
        response_add: value.response_add.iter().map(encode_option).collect(),
        response_remove: value.response_remove.clone(),
    }
}

pub(super) fn decode(messages: Messages, cx: &mut Context) -> Result<HeaderMutations> {
    Ok(HeaderMutations {
        request_add: cx.each("request_headers_to_add", messages.request_add, decode_option)?,
        request_remove: messages.request_remove,
        response_add: cx.each("response_headers_to_add", messages.response_add, decode_option)?,
        response_remove: messages.response_remove,
    })
}

fn encode_option(value: &HeaderValueOption) -> core::HeaderValueOption {
    let action = match value.overwrite {
        true => HeaderAppendAction::OverwriteIfExistsOrAdd,
        false => HeaderAppendAction::AppendIfExistsOrAdd,
    };
    let header =
        HeaderValue { key: value.name.clone(), value: value.value.clone(), ..Default::default() };
    core::HeaderValueOption {
        header: Some(header),
        append_action: action.into(),
        ..Default::default()
    }
}

#[expect(deprecated, reason = "the old flag means the same")]
fn decode_option(message: core::HeaderValueOption, cx: &mut Context) -> Result<HeaderValueOption> {
    fields! {
        cx, message => core::HeaderValueOption { header, append, append_action }
        ignored { keep_empty_value }
    }
    let (name, value) = cx.required("header", header, |header, cx| {
        fields! { cx, header => HeaderValue { key, value, raw_value } }
        match String::from_utf8(raw_value) {
            Ok(raw) if value.is_empty() => Ok((key, raw)),
            Ok(raw) if raw.is_empty() => Ok((key, value)),
            Ok(_) => cx.fail("must have either value or raw_value"),
            Err(_) => cx.fail_at("raw_value", "is not UTF-8"),
        }
    })?;
    let action = cx.enumeration("append_action", append_action)?;
    let overwrite = match (append, action) {
        (Some(append), _) => !append,
        (None, HeaderAppendAction::AppendIfExistsOrAdd) => false,
        (None, HeaderAppendAction::OverwriteIfExistsOrAdd) => true,
        (None, HeaderAppendAction::AddIfAbsent | HeaderAppendAction::OverwriteIfExists) => {
            return cx.fail_at(
                "append_action",
                "must be APPEND_IF_EXISTS_OR_ADD or OVERWRITE_IF_EXISTS_OR_ADD",
            );
        }
    };
    Ok(HeaderValueOption { name, value, overwrite })
}
