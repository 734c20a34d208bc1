//! Changes to a list of filters, virtual hosts or routes.

use prost_reflect::{DynamicMessage, Value};

use super::{Operation, Patch};

/// Which elements of a list a patch is about.
pub(super) struct Target<'a> {
    /// Whether an element is meant.
    pub(super) is_match: &'a dyn Fn(&DynamicMessage) -> bool,
    /// Whether the patch asks for particular elements.
    pub(super) selects: bool,
    /// Where an element goes that is put at the end.
    pub(super) end: usize,
}

/// Changes `list`. Answers whether anything changed.
pub(super) fn edit(
    list: &mut Vec<Value>,
    patch: &Patch,
    target: &Target<'_>,
) -> Result<bool, String> {
    let is_match = |value: &Value| value.as_message().is_some_and(target.is_match);
    let before = list.len();
    let at = match patch.operation {
        Operation::Remove => {
            list.retain(|value| !is_match(value));
            return Ok(list.len() != before);
        }
        Operation::Merge | Operation::MergeAndReplaceList => {
            let mut changed = false;
            for value in list.iter_mut().filter(|value| is_match(value)) {
                if let Value::Message(message) = value {
                    patch.merge_into(message)?;
                    changed = true;
                }
            }
            return Ok(changed);
        }
        Operation::Replace => {
            let Some(new) = &patch.value else { return Ok(false) };
            let mut changed = false;
            for value in list.iter_mut().filter(|value| is_match(value)) {
                *value = Value::Message(new.clone());
                changed = true;
            }
            return Ok(changed);
        }
        Operation::InsertFirst => Some(0),
        Operation::Add => Some(target.end),
        Operation::InsertBefore if !target.selects => Some(0),
        Operation::InsertAfter if !target.selects => Some(target.end),
        Operation::InsertBefore => list.iter().position(is_match),
        Operation::InsertAfter => list.iter().position(is_match).map(|at| at + 1),
    };
    let (Some(at), Some(new)) = (at, &patch.value) else { return Ok(false) };
    list.insert(at.min(before), Value::Message(new.clone()));
    Ok(true)
}
