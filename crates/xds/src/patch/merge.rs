//! Protobuf's merge, with what Istio adds: durations are replaced whole, and the content of two
//! `Any`s of the same type is merged.

use prost_reflect::{DynamicMessage, ReflectMessage as _, Value};

use super::encode;

/// What happens to lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lists {
    /// They grow.
    Append,
    /// They are replaced.
    Replace,
}

/// Merges `from` into `into`, which are of one type.
///
/// # Errors
/// When two `Any`s of different types meet.
pub(super) fn merge(
    into: &mut DynamicMessage,
    from: &DynamicMessage,
    lists: Lists,
) -> Result<(), String> {
    for (field, value) in from.fields() {
        match value {
            Value::List(added) if lists == Lists::Append => {
                if let Value::List(values) = into.get_field_mut(&field) {
                    values.extend(added.iter().cloned());
                }
            }
            Value::Map(added) => {
                if let Value::Map(entries) = into.get_field_mut(&field) {
                    entries.extend(added.iter().map(|(key, value)| (key.clone(), value.clone())));
                }
            }
            Value::Message(inner) if into.has_field(&field) && !is_scalar(inner) => {
                if let Value::Message(target) = into.get_field_mut(&field) {
                    nested(target, inner, lists)?;
                }
            }
            _ => into.set_field(&field, value.clone()),
        }
    }
    Ok(())
}

fn nested(into: &mut DynamicMessage, from: &DynamicMessage, lists: Lists) -> Result<(), String> {
    if from.descriptor().full_name() != "google.protobuf.Any" {
        return merge(into, from, lists);
    }
    let (Some(mut target), Some(source)) = (encode::open(into)?, encode::open(from)?) else {
        into.clone_from(from);
        return Ok(());
    };
    let (is, wanted) = (target.descriptor(), source.descriptor());
    if is != wanted {
        return Err(format!("a {} cannot be merged into a {}", wanted.full_name(), is.full_name()));
    }
    merge(&mut target, &source, lists)?;
    encode::close(into, &target);
    Ok(())
}

/// Messages that stand for one value.
// COMPAT: Istio replaces durations only; a wrapped `false` or 0 cannot be merged there, which its
// users meet as a patch without effect.
fn is_scalar(message: &DynamicMessage) -> bool {
    let descriptor = message.descriptor();
    let name = descriptor.full_name();
    name == "google.protobuf.Duration"
        || (name.starts_with("google.protobuf.") && name.ends_with("Value"))
}
