//! mcpd's own evaluator, asked as mcpd asks it.

use crate::{
    policy::{self, On, Rights, Verdict},
    world::Case,
};

fn rights(case: &Case) -> Rights {
    let bindings = case.bindings.iter().map(|rbac| (rbac.name.clone(), rbac.clone())).collect();
    policy::compile(&bindings, &case.members).remove(&case.asker).unwrap_or_default()
}

/// The name of the binding that allows; none if it is denied.
pub(crate) fn decide(case: &Case) -> Option<String> {
    let names: Vec<&str> = case.names.iter().map(String::as_str).collect();
    let on = if names.is_empty() { On::All(case.resource) } else { On::One(case.resource, &names) };
    let rights = rights(case);
    match policy::decide(&rights, case.verb, on) {
        Verdict::Allowed { binding } => Some(binding.to_string()),
        Verdict::Denied => None,
    }
}

/// Says whether the asker may give the gift to somebody.
pub(crate) fn may_hand_on(case: &Case) -> bool {
    policy::missing_rights(&rights(case), &case.gift).is_empty()
}
