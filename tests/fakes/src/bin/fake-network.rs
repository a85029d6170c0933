//! Opens the sockets of a network of its own for a test outside: see [`fakes::OwnNetwork`].

fn main() {
    fakes::own_network::open_sockets();
}
