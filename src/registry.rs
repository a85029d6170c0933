//! Which provider stands in for which LLM.
//!
//! Two maps that cannot disagree: a failover entry always leads to a registered provider, and removing the provider
//! removes its entries.

use mcp_api::LlmName;
use std::collections::{BTreeMap, btree_map::Entry};

/// Something that has the name it is registered under.
pub trait Named {
    /// The name, unique in a registry.
    fn name(&self) -> &str;
}

/// Providers by name, and who stands in for which LLM.
#[derive(Debug, Clone)]
pub struct Registry<P> {
    providers: BTreeMap<String, P>,
    failovers: BTreeMap<LlmName, String>,
}

/// Why something is not registered. Nothing has changed then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegistryError {
    /// The name is taken.
    #[error("a provider named \"{0}\" is registered already")]
    DuplicateProvider(String),
    /// A failover needs a provider.
    #[error("no provider is named \"{0}\"")]
    UnknownProvider(String),
    /// Nobody guesses which one was meant.
    #[error("\"{llm}\" has the failover \"{taken_by}\" already")]
    DuplicateFailover {
        /// The LLM.
        llm: LlmName,
        /// The provider that stands in for it already.
        taken_by: String,
    },
}

impl<P> Default for Registry<P> {
    fn default() -> Self {
        Self { providers: BTreeMap::new(), failovers: BTreeMap::new() }
    }
}

impl<P: Named> Registry<P> {
    /// Adds a provider, with no failover.
    pub fn register(&mut self, provider: P) -> Result<(), RegistryError> {
        match self.providers.entry(provider.name().to_owned()) {
            Entry::Occupied(taken) => Err(RegistryError::DuplicateProvider(taken.key().clone())),
            Entry::Vacant(free) => {
                free.insert(provider);
                Ok(())
            }
        }
    }

    /// Declares that a registered provider stands in for an LLM.
    pub fn register_failover(&mut self, llm: LlmName, provider: &str) -> Result<(), RegistryError> {
        if !self.providers.contains_key(provider) {
            return Err(RegistryError::UnknownProvider(provider.to_owned()));
        }
        match self.failovers.entry(llm) {
            Entry::Occupied(taken) => Err(RegistryError::DuplicateFailover {
                llm: taken.key().clone(),
                taken_by: taken.get().clone(),
            }),
            Entry::Vacant(free) => {
                free.insert(provider.to_owned());
                Ok(())
            }
        }
    }

    /// Removes a provider and every failover entry that leads to it.
    pub fn unregister(&mut self, name: &str) -> Option<P> {
        let removed = self.providers.remove(name)?;
        self.failovers.retain(|_, provider| provider != name);
        Some(removed)
    }

    /// The provider of this name.
    #[must_use]
    pub fn provider(&self, name: &str) -> Option<&P> {
        self.providers.get(name)
    }

    /// Who stands in for an LLM.
    #[must_use]
    pub fn stand_in_for(&self, llm: &LlmName) -> Option<&P> {
        self.failovers.get(llm).and_then(|provider| self.providers.get(provider))
    }

    /// All providers, in the order of their names.
    pub fn providers(&self) -> impl Iterator<Item = &P> {
        self.providers.values()
    }

    /// All failovers, in the order of the LLMs' names.
    pub fn failovers(&self) -> impl Iterator<Item = (&LlmName, &P)> {
        self.failovers.iter().filter_map(|(llm, provider)| Some((llm, self.providers.get(provider)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Debug, Clone, PartialEq)]
    struct P(String);

    impl Named for P {
        fn name(&self) -> &str {
            &self.0
        }
    }

    fn llm(n: u8) -> LlmName {
        format!("llm-{n}").parse().unwrap()
    }

    #[test]
    fn a_second_claim_is_refused_and_the_first_stands() {
        let mut registry = Registry::default();
        registry.register(P("a".into())).unwrap();
        registry.register(P("b".into())).unwrap();
        assert_eq!(registry.register(P("a".into())), Err(RegistryError::DuplicateProvider("a".into())));
        registry.register_failover(llm(1), "a").unwrap();
        let taken = RegistryError::DuplicateFailover { llm: llm(1), taken_by: "a".into() };
        assert_eq!(registry.register_failover(llm(1), "b"), Err(taken));
        assert_eq!(registry.register_failover(llm(2), "c"), Err(RegistryError::UnknownProvider("c".into())));
        assert_eq!(registry.stand_in_for(&llm(1)), Some(&P("a".into())));
    }

    #[test]
    fn providers_are_found_by_name_and_failovers_by_llm_until_they_go() {
        let mut registry = Registry::default();
        for name in ["b", "a"] {
            registry.register(P(name.into())).unwrap();
        }
        registry.register_failover(llm(2), "b").unwrap();
        registry.register_failover(llm(1), "b").unwrap();
        let names = |registry: &Registry<P>| registry.providers().map(|p| p.0.clone()).collect::<Vec<_>>();
        assert_eq!(names(&registry), ["a", "b"]);
        assert_eq!((registry.provider("b"), registry.provider("c")), (Some(&P("b".into())), None));
        assert!(registry.failovers().eq([(&llm(1), &P("b".into())), (&llm(2), &P("b".into()))]));
        assert_eq!(
            (registry.stand_in_for(&llm(2)), registry.stand_in_for(&llm(3))),
            (Some(&P("b".into())), None)
        );

        assert_eq!(registry.unregister("b"), Some(P("b".into())));
        assert_eq!(registry.unregister("b"), None);
        assert_eq!(names(&registry), ["a"]);
        assert_eq!(registry.provider("b"), None);
        assert_eq!(registry.stand_in_for(&llm(2)), None);
        registry.register_failover(llm(2), "a").unwrap();
    }

    proptest! {
        /// Whatever is done in whatever order, no failover dangles, and those of others stay.
        #[test]
        fn unregistering_leaves_nothing_dangling(steps in prop::collection::vec((0..3_u8, 0..4_u8, 0..6_u8), 0..60)) {
            let mut registry = Registry::default();
            for (what, provider, n) in steps {
                let name = format!("p{provider}");
                match what {
                    0 => drop(registry.register(P(name))),
                    1 => drop(registry.register_failover(llm(n), &name)),
                    _ => {
                        let others: Vec<_> = registry.failovers()
                            .filter(|(_, p)| p.0 != name).map(|(l, p)| (l.clone(), p.clone())).collect();
                        registry.unregister(&name);
                        let left: Vec<_> = registry.failovers().map(|(l, p)| (l.clone(), p.clone())).collect();
                        prop_assert_eq!(left, others);
                    }
                }
                prop_assert_eq!(registry.failovers.len(), registry.failovers().count());
            }
        }
    }
}
