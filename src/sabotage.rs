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
    /// Redirects are followed, and the bearer and the prompt go along.
    FOLLOW_REDIRECTS = "sabotage_follow_redirects";
    /// A 4xx of the primary counts as an outage.
    PROBE_ON_4XX = "sabotage_probe_on_4xx";
    /// A quota of the server counts as an outage.
    PROBE_ON_QUOTA = "sabotage_probe_on_quota";
    /// A certificate that is wrong counts as an outage.
    PROBE_ON_BAD_TLS = "sabotage_probe_on_bad_tls";
    /// An output that nobody reads counts as an outage.
    PROBE_ON_CLOSED_OUTPUT = "sabotage_probe_on_closed_output";
    /// A stand-in goes on with an answer that has begun.
    SPLICE = "sabotage_splice";
    /// Any status of success confirms a right.
    ACCEPT_ANY_2XX = "sabotage_accept_any_2xx";
    /// A web page confirms a right.
    HTML_IS_YES = "sabotage_html_is_yes";
    /// A 200 without a decision confirms a right, also from a server that is known to send decisions.
    BARE_YES = "sabotage_bare_yes";
    /// A decision with any nonce confirms a right.
    IGNORE_NONCE = "sabotage_ignore_nonce";
    /// A decision about another LLM confirms the right to this one.
    OTHER_LLM = "sabotage_other_llm";
    /// The right to view is taken for the right to run.
    VIEW_IS_ENOUGH = "sabotage_view_is_enough";
    /// A failover goes on although its administrator forbids it.
    IGNORE_POLICY = "sabotage_ignore_policy";
    /// A question that nobody answers confirms a right.
    UNVERIFIED_IS_YES = "sabotage_unverified_is_yes";
    /// A permit holds for ever.
    NO_SECOND_PROBE = "sabotage_no_second_probe";
    /// A stream that just ends is a whole answer.
    CLEAN_EOF_IS_OK = "sabotage_clean_eof_is_ok";
    /// An answer without a reason to end is a whole one.
    NO_REASON_IS_OK = "sabotage_no_reason_is_ok";
    /// The first of two providers that claim one LLM gets it.
    FIRST_CLAIM_WINS = "sabotage_first_claim_wins";
    /// A file that names programs, and the folders above it, may be changed by others.
    SKIP_DIR_CHECK = "sabotage_skip_dir_check";
    /// Others may enter the folder of an engine's records and of its key.
    OPEN_PLACE = "sabotage_open_place";
    /// A file with a token may be read by others.
    READABLE_TOKEN = "sabotage_readable_token";
    /// The token for the server goes to local providers that have no key of their own.
    BEARER_TO_LOCAL = "sabotage_bearer_to_local";
    /// A credential that a peer repeats is shown.
    REPEAT_BEARER = "sabotage_repeat_bearer";
    /// Token and prompts go to other machines by plain HTTP.
    PLAIN_HTTP = "sabotage_plain_http";
    /// The proxy of the environment is used for plain HTTP and for this machine.
    PROXY_FOR_LOCAL = "sabotage_proxy_for_local";
    /// A prompt goes to whoever listens where an engine of ours should.
    SKIP_PEER_CHECK = "sabotage_skip_peer_check";
    /// An engine inherits every variable.
    ENV_TO_ENGINE = "sabotage_env_to_engine";
}
