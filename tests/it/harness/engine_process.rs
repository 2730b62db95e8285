//! An engine in a process of its own, to be killed.

use std::process::{Child, Command, Stdio};

use super::world::World;

/// The `prooftally` program of this build.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_prooftally");

/// A running `prooftally serve`. Killed when it is dropped.
pub struct EngineProcess {
    child: Child,
}

impl EngineProcess {
    pub fn start(world: &World) -> Self {
        Self::start_with(world, &[])
    }

    /// With further variables.
    pub fn start_with(world: &World, variables: &[(&str, &str)]) -> Self {
        let child = Command::new(PROGRAM)
            .arg("serve")
            .envs(world.variables())
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .spawn()
            .expect("the program of this build starts");
        Self { child }
    }

    /// SIGKILL: nothing is finished, nothing is cleaned up.
    pub fn kill(mut self) {
        self.child.kill().expect("it is a child of this process");
        self.child.wait().expect("it is a child of this process");
    }

    /// Its resident memory.
    pub fn memory_bytes(&self) -> u64 {
        self.memory("VmRSS:")
    }

    /// The most resident memory that it ever had.
    pub fn memory_peak_bytes(&self) -> u64 {
        self.memory("VmHWM:")
    }

    fn memory(&self, name: &str) -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let text = text.expect("it runs");
        let line = text.lines().find_map(|line| line.strip_prefix(name)).expect("Linux has it");
        let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
        kilobytes * 1_024
    }

    /// SIGSTOP: it hangs, with all its connections open.
    pub fn pause(&self) {
        self.signal(rustix::process::Signal::STOP);
    }

    /// SIGCONT.
    pub fn resume(&self) {
        self.signal(rustix::process::Signal::CONT);
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).expect("it runs");
    }

    /// SIGTERM, and its exit code.
    pub fn stop(mut self) -> Option<i32> {
        self.signal(rustix::process::Signal::TERM);
        self.child.wait().expect("it is a child of this process").code()
    }
}

impl Drop for EngineProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
