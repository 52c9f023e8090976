//! The filters that every command with stacks takes.

use clap::Args;
use regex::Regex;

use super::options::{InputArgs, SymbolArgs, Usage};
use crate::group::filter::{self, Filter, Wish, Wishes};
use crate::model::stack::StackKind;

/// Which stacks are wanted. Values of one filter are alternatives, different filters must all hold, `!VALUE` must not hold.
///
/// `--module NAME` belongs to them too; it stands among the symbol options, because a file can be meant.
#[derive(Args, Debug, Default)]
#[command(next_help_heading = "Filters")]
pub struct FilterArgs {
    /// Stacks with a frame in this module or image, `kernel` for the kernel itself; the same as --module with a bare name
    #[arg(long, value_name = "NAME")]
    in_module: Vec<String>,
    /// Stacks that run through this function, with +0xOFFSET through that very call
    ///
    /// For all filters: values of one are alternatives, different filters must all hold, and what `!VALUE` says must not hold.
    #[arg(long, value_name = "FUNCTION")]
    caller: Vec<String>,
    /// Stacks with a frame, written `function [module]`, that matches
    #[arg(long, visible_alias = "called-from", value_name = "REGEX")]
    frame: Vec<String>,
    /// Stacks whose process or thread name matches
    #[arg(long, value_name = "REGEX")]
    task: Vec<String>,
    /// Stacks of this process id
    #[arg(long, value_name = "PID")]
    pid: Vec<String>,
    /// Stacks of this thread id
    #[arg(long, value_name = "TID")]
    tid: Vec<String>,
    /// Stacks in this state, or with this flag in it: D, TH_UNINT
    #[arg(long, value_name = "STATE")]
    state: Vec<String>,
    /// Stacks whose wait channel matches
    #[arg(long, value_name = "REGEX")]
    wchan: Vec<String>,
    /// Stacks of this kind: thread, crash, irq, alloc, free, lock, sample
    #[arg(long, value_name = "KIND")]
    kind: Vec<String>,
    /// Stacks that at least this many threads share, by their functions
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub min_count: u64,
}

impl FilterArgs {
    /// Whether any stack is unwanted.
    pub fn any(&self, symbols: &SymbolArgs) -> bool {
        let lists = [&self.in_module, &self.caller, &self.frame, &self.task, &self.pid, &self.tid, &self.state, &self.wchan, &self.kind];
        self.min_count > 1 || symbols.module_names().next().is_some() || lists.iter().any(|list| !list.is_empty())
    }

    /// Says so when there is nothing to filter: load maps have no stacks.
    ///
    /// # Errors
    /// When load maps are given and no report.
    pub fn need_report(&self, input: &InputArgs, symbols: &SymbolArgs) -> Result<(), Usage> {
        let maps_alone = input.reports.is_empty() && !symbols.load_maps.is_empty();
        if maps_alone { Err(Usage("filters need a report; load maps have no stacks".to_string())) } else { Ok(()) }
    }

    /// The filter that the options make, with the bare names given to `--module`.
    ///
    /// # Errors
    /// The value that cannot be read, and where.
    pub fn filter(&self, symbols: &SymbolArgs) -> Result<Filter, Usage> {
        let mut modules: Vec<String> = symbols.module_names().map(str::to_string).collect();
        modules.extend(self.in_module.iter().cloned());
        Ok(Filter {
            modules: wishes("--in-module", &modules, |name| Ok(name.to_string()))?,
            callers: wishes("--caller", &self.caller, filter::caller)?,
            frames: wishes("--frame", &self.frame, regex)?,
            tasks: wishes("--task", &self.task, regex)?,
            pids: wishes("--pid", &self.pid, |pid| pid.parse().map_err(|_| "expected a decimal number".to_string()))?,
            tids: wishes("--tid", &self.tid, |tid| Ok(tid.to_string()))?,
            states: wishes("--state", &self.state, |state| Ok(state.to_string()))?,
            wait_channels: wishes("--wchan", &self.wchan, regex)?,
            kinds: wishes("--kind", &self.kind, |kind| StackKind::by_name(kind).ok_or_else(kinds))?,
        })
    }
}

fn wishes<T>(option: &str, values: &[String], read: impl Fn(&str) -> Result<T, String>) -> Result<Wishes<T>, Usage> {
    let one = |value: &String| -> Result<Wish<T>, Usage> {
        filter::wish(value, &read).map_err(|why| Usage(format!("{option} '{value}': {why}")))
    };
    values.iter().map(one).collect()
}

/// The expression; its error shows the place.
fn regex(text: &str) -> Result<Regex, String> {
    Regex::new(text).map_err(|error| error.to_string())
}

fn kinds() -> String {
    let names: Vec<&str> = StackKind::ALL.iter().map(|kind| kind.name()).collect();
    format!("expected one of {}", names.join(", "))
}
