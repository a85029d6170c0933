//! Which columns of a list are shown, for every command that has one.

use clap::Args;

/// Flags of a command that shows a list.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct ColumnArgs {
    /// Show these columns in this order, such as NAME,STATE; -o wide has them all
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',')]
    pub(super) columns: Option<Vec<String>>,
    /// Leave out the line of titles
    #[arg(long)]
    pub(super) no_headers: bool,
}
