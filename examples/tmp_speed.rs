fn main() {
    let path = std::env::args().nth(1).unwrap();
    let text = std::fs::read(path).unwrap();
    let format = kstack::parse::detect(&text).unwrap();
    for _ in 0..5 {
        let start = std::time::Instant::now();
        let capture = format.parse(&text);
        let t = start.elapsed();
        println!("{} {} stacks {:?} {:.0} MB/s", format.id(), capture.stacks.len(), t, text.len() as f64 / 1e6 / t.as_secs_f64());
    }
}
