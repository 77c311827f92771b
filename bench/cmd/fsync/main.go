// Command fsync tells what durability costs in a directory: how long one fdatasync takes, and how many records a second many waiters
// get to stable storage together. Durable figures of a server mean little without those of the same minute.
package main

import (
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/keyhold/keyhold/bench/internal/disk"
	"github.com/keyhold/keyhold/bench/internal/results"
)

func main() {
	dir := flag.String("dir", ".", "directory on the disk to measure; two files of up to 256 MiB are made and removed")
	waiters := flag.Int("waiters", 16, "of the group commit")
	each := flag.Duration("each", 2*time.Second, "time for each of the two")
	group := flag.Int("group", 0, "number of the group of runs that this belongs to")
	out := flag.String("out", "", "append the result to this file, as a JSON line")
	flag.Parse()
	d, err := disk.Measure(*dir, *waiters, *each)
	if err == nil {
		d.Group = *group
		fmt.Printf("fdatasync p50 %.0f p99 %.0f µs | %d waiters: %.0f records/s, %.0f syncs/s, %.1f µs CPU a record\n", d.P50, d.P99, d.Waiters, d.PerSecond, d.Syncs, d.Own)
		if *out != "" {
			err = results.Append(*out, results.Line{Disk: d})
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "fsync:", err)
		os.Exit(1)
	}
}
