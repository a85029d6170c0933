//! Gateways for LLMs that other people use, each as its documentation says, with one worker and no log.

use super::{Kind, Places, System};
use crate::stub::Model;
use std::net::SocketAddr;

pub(super) fn litellm(_: Kind, _: &Places, _: SocketAddr, _: &[Model]) -> anyhow::Result<Option<System>> {
    Ok(None)
}

pub(super) fn portkey(_: Kind, _: &Places, _: SocketAddr) -> anyhow::Result<Option<System>> {
    Ok(None)
}
