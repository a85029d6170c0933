//! The guards that a feature of the build takes out, one each: `scripts/red` builds without a guard and wants to see
//! one of its tests fail. Decides nothing itself.
//!
//! All of this is false in every build that somebody could ship: with one of these features, whatever is compiled
//! without debug assertions, as a release is, does not compile. `tests/red.tsv` says which tests are to fail.

macro_rules! guards {
    ($($(#[doc = $says:literal])+ $guard:ident = $feature:literal;)+) => {
        $($(#[doc = $says])+ pub(crate) const $guard: bool = cfg!(feature = $feature);)+

        #[cfg(all(any($(feature = $feature),+), not(debug_assertions)))]
        compile_error!("this build lacks a guard, for scripts/red to see a test fail: it must not become a release");
    };
}

guards! {
    /// A probe is answered with yes to who may only view the LLM.
    PROBE_WITHOUT_RUN = "sabotage_probe_without_run";
    /// A model that is switched off is run.
    RUN_DISABLED = "sabotage_run_disabled";
    /// Somebody without a right is told what exists.
    EXISTENCE_ORACLE = "sabotage_existence_oracle";
    /// Everybody sees all LLMs in the list.
    LIST_EVERYTHING = "sabotage_list_everything";
    /// Somebody grants what they do not hold.
    ESCALATION = "sabotage_escalation";
    /// The key of an upstream goes wherever an editor sends it.
    KEY_FOLLOWS_URL = "sabotage_key_follows_url";
    /// What an upstream says about its key is passed on.
    UPSTREAM_ERROR_THROUGH = "sabotage_upstream_error_through";
    /// A key that an upstream repeats is passed on.
    REPEAT_KEY = "sabotage_repeat_key";
    /// The token of a caller goes to the upstream, in the one header of theirs that does.
    BEARER_UPSTREAM = "sabotage_bearer_upstream";
    /// The body of a request may say where it goes and with which key.
    BODY_CHOOSES_TARGET = "sabotage_body_chooses_target";
    /// Answers go on after the right to them has gone.
    FORGET_REVOCATION = "sabotage_forget_revocation";
    /// Upstreams may be anywhere, also on this machine.
    REACH_ANYWHERE = "sabotage_reach_anywhere";
    /// Tokens may be guessed as often as one likes.
    GUESS_FOR_EVER = "sabotage_guess_for_ever";
    /// Of two tokens the first one counts.
    FIRST_TOKEN_WINS = "sabotage_first_token_wins";
}
