// Package disk measures what durability costs in a directory: one sync by itself, and syncs that many share.
package disk

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/keyhold/keyhold/bench/internal/bare"
	"github.com/keyhold/keyhold/bench/internal/load"
	"github.com/keyhold/keyhold/bench/internal/proc"
	"github.com/keyhold/keyhold/bench/internal/results"
)

const (
	block = 512     // bytes that one write overwrites
	area  = 4 << 20 // bytes of the file that is overwritten
)

// Measure overwrites and syncs by itself for a while, then lets waiters append to a log for as long.
func Measure(dir string, waiters int, each time.Duration) (*results.Disk, error) {
	took, err := single(filepath.Join(dir, "fsync.single"), each)
	if err != nil {
		return nil, err
	}
	d := &results.Disk{P50: micros(load.Quantile(took, .5)), P99: micros(load.Quantile(took, .99)), Waiters: waiters}
	return d, group(d, filepath.Join(dir, "fsync.group"), each)
}

func micros(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 }

// single overwrites blocks of a file that is full of zeros, one fdatasync each. It answers how long they took, sorted.
func single(path string, each time.Duration) (took []time.Duration, err error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(path)) }()
	if _, err := f.Write(make([]byte, area)); err != nil {
		return nil, err
	}
	if err := f.Sync(); err != nil {
		return nil, err
	}
	b := slices.Repeat([]byte{'x'}, block)
	for at, until := int64(0), time.Now().Add(each); len(took) == 0 || time.Now().Before(until); at = (at + block) % area {
		began := time.Now()
		if _, err := f.WriteAt(b, at); err != nil {
			return nil, err
		}
		if err := syscall.Fdatasync(int(f.Fd())); err != nil {
			return nil, err
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	return took, nil
}

// group appends records to the yardstick's log from many goroutines.
func group(d *results.Disk, path string, each time.Duration) (err error) {
	l, err := bare.Open(path, bare.Durable)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.Remove(path)) }()
	before, err := proc.Read(os.Getpid())
	if err != nil {
		return err
	}
	var all sync.WaitGroup
	n, errs := make([]int, d.Waiters), make([]error, d.Waiters)
	until := time.Now().Add(each)
	for i := range d.Waiters {
		all.Go(func() {
			for errs[i] == nil && time.Now().Before(until) {
				errs[i] = l.Append("encrypt", "bench", "127.0.0.1:12345", true)
				n[i]++
			}
		})
	}
	all.Wait()
	after, err := proc.Read(os.Getpid())
	syncs, closed := l.Close()
	if err := errors.Join(append(errs, err, closed)...); err != nil {
		return err
	}
	records := 0
	for _, k := range n {
		records += k
	}
	seconds := after.At.Sub(before.At).Seconds()
	d.PerSecond, d.Syncs = float64(records)/seconds, float64(syncs)/seconds
	d.Own = micros(after.CPU()-before.CPU()) / float64(records)
	return nil
}
