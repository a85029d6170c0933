//! Plays `vllm serve` or `llama-server`, and fails on command: see [`fakes::FakeEngine`].

fn main() {
    fakes::fake_engine::play()
}
