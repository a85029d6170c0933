//! A partial change of an LLM, as a JSON merge patch (RFC 7396): what is left out stays, `null` takes away.

use crate::{ApiKeyRef, FailoverPolicy, Labels, Limits, Timeouts, TokenLimits};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::{borrow::Cow, num::NonZeroU32};

/// The body of `PATCH`. Absent fields stay as they are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct LlmPatch {
    /// All labels that it shall have.
    #[serde(default, deserialize_with = "never_null::labels", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Labels")]
    pub labels: Option<Labels>,
    /// See [`LlmSpec::display_name`](crate::LlmSpec::display_name).
    #[serde(default, skip_serializing_if = "Patched::is_kept")]
    pub display_name: Patched<String>,
    /// See [`LlmSpec::kind`](crate::LlmSpec::kind).
    #[serde(
        default,
        rename = "type",
        deserialize_with = "never_null::kind",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(with = "String")]
    pub kind: Option<String>,
    /// See [`LlmSpec::url`](crate::LlmSpec::url). Another scheme, host or port drops the key reference.
    #[serde(default, deserialize_with = "never_null::url", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub url: Option<String>,
    /// See [`LlmSpec::urls`](crate::LlmSpec::urls). All nodes that it shall have; `null` leaves the first one. A new
    /// `url` without them is the only node.
    #[serde(default, skip_serializing_if = "Patched::is_kept")]
    pub urls: Patched<Vec<String>>,
    /// See [`LlmSpec::model`](crate::LlmSpec::model).
    #[serde(default, deserialize_with = "never_null::model", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub model: Option<String>,
    /// See [`LlmSpec::api_key_ref`](crate::LlmSpec::api_key_ref).
    #[serde(default, skip_serializing_if = "Patched::is_kept")]
    pub api_key_ref: Patched<ApiKeyRef>,
    /// See [`LlmSpec::enabled`](crate::LlmSpec::enabled).
    #[serde(default, deserialize_with = "never_null::enabled", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "bool")]
    pub enabled: Option<bool>,
    /// See [`LlmSpec::failover`](crate::LlmSpec::failover).
    #[serde(default, deserialize_with = "never_null::failover", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "FailoverPolicy")]
    pub failover: Option<FailoverPolicy>,
    /// See [`LlmSpec::context_length`](crate::LlmSpec::context_length).
    #[serde(default, skip_serializing_if = "Patched::is_kept")]
    pub context_length: Patched<u32>,
    /// See [`LlmSpec::timeouts`](crate::LlmSpec::timeouts).
    #[serde(default, skip_serializing_if = "Patched::is_kept")]
    pub timeouts: Patched<TimeoutsPatch>,
    /// See [`LlmSpec::limits`](crate::LlmSpec::limits).
    #[serde(default, skip_serializing_if = "Patched::is_kept")]
    pub limits: Patched<LimitsPatch>,
}

/// A partial change of [`Timeouts`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct TimeoutsPatch {
    /// See [`Timeouts::connect_seconds`].
    #[serde(default, skip_serializing_if = "Patched::is_kept")]
    pub connect_seconds: Patched<NonZeroU32>,
    /// See [`Timeouts::first_byte_seconds`].
    #[serde(default, skip_serializing_if = "Patched::is_kept")]
    pub first_byte_seconds: Patched<NonZeroU32>,
    /// See [`Timeouts::idle_seconds`].
    #[serde(default, skip_serializing_if = "Patched::is_kept")]
    pub idle_seconds: Patched<NonZeroU32>,
}

/// A partial change of [`Limits`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct LimitsPatch {
    /// See [`Limits::concurrent`].
    #[serde(default, skip_serializing_if = "Patched::is_kept")]
    pub concurrent: Patched<NonZeroU32>,
    /// See [`Limits::requests_per_minute`].
    #[serde(default, skip_serializing_if = "Patched::is_kept")]
    pub requests_per_minute: Patched<NonZeroU32>,
    /// See [`Limits::per_token`].
    #[serde(default, skip_serializing_if = "Patched::is_kept")]
    pub per_token: Patched<TokenLimitsPatch>,
}

/// A partial change of [`TokenLimits`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct TokenLimitsPatch {
    /// See [`TokenLimits::concurrent`].
    #[serde(default, skip_serializing_if = "Patched::is_kept")]
    pub concurrent: Patched<NonZeroU32>,
    /// See [`TokenLimits::requests_per_minute`].
    #[serde(default, skip_serializing_if = "Patched::is_kept")]
    pub requests_per_minute: Patched<NonZeroU32>,
}

impl TimeoutsPatch {
    fn over(self, old: Timeouts) -> Timeouts {
        Timeouts {
            connect_seconds: self.connect_seconds.over(old.connect_seconds),
            first_byte_seconds: self.first_byte_seconds.over(old.first_byte_seconds),
            idle_seconds: self.idle_seconds.over(old.idle_seconds),
        }
    }
}

impl LimitsPatch {
    fn over(self, old: Limits) -> Limits {
        Limits {
            concurrent: self.concurrent.over(old.concurrent),
            requests_per_minute: self.requests_per_minute.over(old.requests_per_minute),
            per_token: self.per_token.within(old.per_token, TokenLimitsPatch::over),
        }
    }
}

impl TokenLimitsPatch {
    fn over(self, old: TokenLimits) -> TokenLimits {
        TokenLimits {
            concurrent: self.concurrent.over(old.concurrent),
            requests_per_minute: self.requests_per_minute.over(old.requests_per_minute),
        }
    }
}

impl LlmPatch {
    /// What the limits in time are after the change.
    #[must_use]
    pub fn timeouts_over(&self, old: Timeouts) -> Timeouts {
        self.timeouts.clone().within(old, TimeoutsPatch::over)
    }

    /// What the limits in number are after the change.
    #[must_use]
    pub fn limits_over(&self, old: Limits) -> Limits {
        self.limits.clone().within(old, LimitsPatch::over)
    }
}

/// What a partial change makes of a field that can be empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Patched<T> {
    /// It is left out of the change, and stays.
    #[default]
    Kept,
    /// It is `null`, and goes.
    Cleared,
    /// It has a new value.
    Set(T),
}

impl<T> Patched<T> {
    /// What the field is after the change.
    #[must_use]
    pub fn over(self, old: Option<T>) -> Option<T> {
        match self {
            Self::Kept => old,
            Self::Cleared => None,
            Self::Set(value) => Some(value),
        }
    }

    /// What an object is after the change, of which each field can be changed alone.
    fn within<O: Default>(self, old: O, over: impl FnOnce(T, O) -> O) -> O {
        match self {
            Self::Kept => old,
            Self::Cleared => O::default(),
            Self::Set(patch) => over(patch, old),
        }
    }

    fn is_kept(&self) -> bool {
        matches!(self, Self::Kept)
    }
}

/// A field that can be null. That it can be left out is said by whatever it is a field of.
impl<T: JsonSchema> JsonSchema for Patched<T> {
    fn inline_schema() -> bool {
        Option::<T>::inline_schema()
    }
    fn schema_name() -> Cow<'static, str> {
        Option::<T>::schema_name()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Option::<T>::json_schema(generator)
    }
}

impl<T: Serialize> Serialize for Patched<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Kept | Self::Cleared => serializer.serialize_none(),
            Self::Set(value) => value.serialize(serializer),
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Patched<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Option::deserialize(deserializer)?.map_or(Self::Cleared, Self::Set))
    }
}

/// Reads fields that cannot be empty: `null` for one of them is an error with its name.
macro_rules! never_null {
    ($($function:ident: $field:literal),+) => {
        mod never_null {
            use serde::{Deserialize, Deserializer, de::Error};
            $(pub(super) fn $function<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
                deserializer: D,
            ) -> Result<Option<T>, D::Error> {
                let value = Option::deserialize(deserializer)?;
                value.map(Some).ok_or_else(|| D::Error::custom(concat!("`", $field, "` cannot be null")))
            })+
        }
    };
}

never_null!(labels: "labels", kind: "type", url: "url", model: "model", enabled: "enabled", failover: "failover");
