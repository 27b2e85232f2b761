//! The bar that a person sees while the rows of an experiment are made.

use indicatif::ProgressBar;

use super::printer::Printer;
use crate::experiment::run::Progress;

pub struct Following<'a> {
    printer: &'a Printer,
    bar: Option<ProgressBar>,
}

impl<'a> Following<'a> {
    pub fn new(printer: &'a Printer) -> Self {
        Self { printer, bar: None }
    }

    pub fn hear(&mut self, progress: &Progress) {
        match (progress, &self.bar) {
            (Progress::Rows { all, there }, _) => {
                let rows = self.printer.bar(*all as u64);
                rows.set_position(*there as u64);
                self.bar = Some(rows);
            }
            (Progress::Loading(model), Some(bar)) => bar.set_message((*model).to_owned()),
            (Progress::Row(_), Some(bar)) => bar.inc(1),
            (Progress::Loading(_) | Progress::Row(_), None) => {}
        }
    }

    pub fn finish(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}
