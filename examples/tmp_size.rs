fn main() {
    println!(
        "{} {}",
        std::mem::size_of::<kstack::model::stack::RawFrame>(),
        std::mem::size_of::<Option<kstack::parse::linux_frame::Trace>>()
    );
    let path = std::env::args().nth(1).unwrap();
    let text = std::fs::read(path).unwrap();
    for _ in 0..3 {
        let s = std::time::Instant::now();
        let mut n = 0;
        for l in kstack::parse::lex::lines(&text) {
            n += l.bytes.len();
        }
        println!("lines {:?} {n}", s.elapsed());
        let s = std::time::Instant::now();
        let mut n = 0;
        for l in kstack::parse::lex::lines(&text) {
            kstack::parse::linux_prefix::records(&l, |r| n += r.text.len());
        }
        println!("records {:?} {n}", s.elapsed());
        let s = std::time::Instant::now();
        let mut n = 0;
        for l in kstack::parse::lex::lines(&text) {
            kstack::parse::linux_prefix::records(&l, |r| n += kstack::parse::linux_frame::trace(r).is_some() as usize);
        }
        println!("frames {:?} {n}", s.elapsed());
        let s = std::time::Instant::now();
        let c = kstack::parse::by_id("linux-log").unwrap().parse(&text);
        println!("all {:?} {}", s.elapsed(), c.stacks.len());
    }
}
