//! The words of the audit trail.

use crate::rbac::words;

words!(
    /// What kind of thing happened.
    AuditEvent, "change, probe, inference, cut, failover", {
        /// Rights, LLMs, subjects or tokens were changed.
        Change = "change",
        /// Somebody asked whether they may run an LLM.
        Probe = "probe",
        /// Somebody sent a prompt.
        Inference = "inference",
        /// The right to run went away while an answer was under way.
        Cut = "cut",
        /// A client says that a local provider answered in the server's place.
        Failover = "failover",
    }
);

words!(
    /// What was decided.
    AuditVerdict, "allowed, denied, disabled, absent", {
        /// Yes, by the role binding that the entry names.
        Allowed = "allowed",
        /// No binding grants it.
        Denied = "denied",
        /// It was granted, but the LLM is switched off.
        Disabled = "disabled",
        /// There is no such LLM, and the caller may know that.
        Absent = "absent",
    }
);
