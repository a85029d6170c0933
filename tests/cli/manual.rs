//! What the program says about itself: manual pages and help.

use crate::support::{Client, says};
use std::{collections::BTreeMap, fs, path::Path};

fn pages(folder: &Path) -> BTreeMap<String, String> {
    let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
    entries
        .map(|it| (it.file_name().into_string().unwrap(), fs::read_to_string(it.path()).unwrap()))
        .collect()
}

#[test]
fn every_command_has_a_manual_page_and_it_is_the_same_every_time() {
    let nobody = Client::stranger("http://127.0.0.1:9");
    let (first, second) = (nobody.home().join("man/man1"), nobody.home().join("again"));
    for folder in [&first, &second] {
        nobody.cmd(["man", folder.to_str().unwrap()]).env("TERM", "dumb").env("LANG", "C").assert().code(0);
    }
    let pages = pages(&first);
    assert_eq!(pages, self::pages(&second));
    for name in ["mcpctl.1", "mcpctl-infer.1", "mcpctl-llm.1", "mcpctl-llm-head.1", "mcpctl-completion.1"] {
        let page = &pages[name];
        assert!(
            page.contains(".TH ") && page.contains(".SH NAME") && page.contains(".SH SYNOPSIS"),
            "{name}"
        );
    }
    assert!(pages["mcpctl-infer.1"].contains("Capital of France?"), "the examples are missing");
    let home = nobody.home().to_str().unwrap();
    assert!(pages.values().all(|page| !page.contains(home)), "a page knows the machine it was made on");
    nobody.cmd(["man", "/dev/null/x"]).assert().code(2).stderr(says("error: cannot write to /dev/null/x"));
}
