//! What runs inside: opens the sockets, which stay in this network wherever they are used, and hands them out.

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use std::{
    env,
    io::IoSlice,
    mem::MaybeUninit,
    net::{Ipv4Addr, TcpListener, UdpSocket},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::UnixStream,
    },
};

/// The main function of the program `fake-network HANDOVER ADDRESS...`: the socket of a name server and a listener at
/// each address go to whoever listens at `HANDOVER`.
pub fn run() {
    let mut args = env::args().skip(1);
    let handover = UnixStream::connect(args.next().expect("where to hand over")).expect("somebody waits");
    let names = UdpSocket::bind((Ipv4Addr::LOCALHOST, 53)).expect("the port of a name server");
    let listeners: Vec<_> = args.map(|addr| TcpListener::bind(addr).expect("an address of ours")).collect();
    let sockets: Vec<BorrowedFd<'_>> =
        [names.as_fd()].into_iter().chain(listeners.iter().map(AsFd::as_fd)).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(super::SOCKETS_MAX))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(control.push(SendAncillaryMessage::ScmRights(&sockets)), "too many sockets");
    sendmsg(&handover, &[IoSlice::new(&[0])], &mut control, SendFlags::empty()).expect("somebody listens");
}
