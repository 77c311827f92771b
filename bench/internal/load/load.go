// Package load sends requests in a closed loop, over connections that are kept, and tells what each operation cost: the
// client in time, and the server in CPU time, memory and bytes written.
//
// Each connection has one request under way, so at equal connections a slower server gets less load: compare servers by CPU
// time for each operation, which other work on the machine changes far less than latency.
package load

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/keyhold/keyhold/bench/internal/api"
	"github.com/keyhold/keyhold/bench/internal/proc"
	"github.com/keyhold/keyhold/bench/internal/results"
	"github.com/keyhold/keyhold/bench/internal/wire"
)

// Limits.
const (
	MaxConns  = 1024
	MaxKeys   = 1e10        // the numbers in their names have ten digits
	MaxWindow = time.Minute // latencies are kept one by one
	grace     = 30 * time.Second
)

// Plan is one run.
type Plan struct {
	Server         *wire.Server
	API            api.API
	Op             api.Op
	Key            string // one that is there; empty: a new one
	Keys           uint64 // load over so many keys, named Key and ten digits, from 0; 0: over one
	Conns          int
	Reconnect      bool // a connection, and a TLS handshake, for each request
	Warmup, Window time.Duration
	PID            int // of the server, whose CPU time counts; 0: unknown
}

// Check refuses a plan that cannot be carried out.
func (p *Plan) Check() error {
	if p.Conns < 1 || p.Conns > MaxConns {
		return fmt.Errorf("%d connections: want 1 to %d", p.Conns, MaxConns)
	}
	if p.Keys > 0 && p.Key == "" || p.Keys > MaxKeys {
		return fmt.Errorf("%d keys: want at most %d, and what their names begin with", p.Keys, uint64(MaxKeys))
	}
	if p.Warmup < 0 || p.Warmup > MaxWindow || p.Window <= 0 || p.Window > MaxWindow {
		return fmt.Errorf("a window of %v after %v: at most %v each", p.Window, p.Warmup, MaxWindow)
	}
	return nil
}

// The phases of a run.
const (
	warming int32 = iota
	measuring
	over
)

// crew is what the connections of a run share.
type crew struct {
	plan     *Plan
	request  wire.Request
	sequence wire.Sequence
	phase    atomic.Int32
	ready    sync.WaitGroup
}

// worker is one connection.
type worker struct {
	took   []time.Duration // of the requests that succeeded in the window
	errors uint64
	first  string // of the errors
}

// Run prepares an operation and loads a server with it.
func Run(ctx context.Context, p Plan) (*results.Run, error) {
	if err := p.Check(); err != nil {
		return nil, err
	}
	c := &crew{plan: &p}
	// Ten digits that no other run of these hours has: a thousand for each millisecond.
	c.sequence.Start(uint64(time.Now().UnixMilli()) % 1e7 * 1000)
	var err error
	if c.request, err = prepare(ctx, &p, &c.sequence); err != nil {
		return nil, fmt.Errorf("prepare %s: %w", p.Op.Name, err)
	}
	return c.measure(ctx)
}

func prepare(ctx context.Context, p *Plan, q *wire.Sequence) (wire.Request, error) {
	conn, err := p.Server.Dial(ctx, grace)
	if err != nil {
		return wire.Request{}, err
	}
	defer conn.Close()
	do := func(r wire.Request) (int, []byte, error) { return conn.Do(p.Server.Serialise(r), q) }
	if p.Key != "" {
		name := p.Key
		if p.Keys > 0 {
			q.Scatter(p.Keys)
			name += wire.Counter
		}
		return api.PrepareWith(p.API, do, p.Op, name)
	}
	return api.Prepare(p.API, do, p.Op, fmt.Sprintf("bench-%d", time.Now().UnixNano()))
}

func (c *crew) measure(ctx context.Context) (*results.Run, error) {
	p := c.plan
	ctx, cancel := context.WithTimeout(ctx, p.Warmup+p.Window+grace)
	defer cancel()
	workers, errs := make([]worker, p.Conns), make([]error, p.Conns)
	var done sync.WaitGroup
	c.ready.Add(p.Conns)
	for i := range workers {
		done.Go(func() { errs[i] = workers[i].run(ctx, c) })
	}
	c.ready.Wait()
	time.Sleep(p.Warmup)
	before, err := c.sample()
	if err == nil {
		c.phase.Store(measuring)
		time.Sleep(p.Window)
	}
	c.phase.Store(over)
	after, failed := c.sample()
	done.Wait()
	if err := errors.Join(append(errs, err, failed)...); err != nil {
		return nil, err
	}
	return c.sum(workers, before, after), nil
}

// sample is both sides at one moment.
type sample struct{ server, client proc.Sample }

func (c *crew) sample() (s sample, err error) {
	if c.plan.PID > 0 {
		if s.server, err = proc.Read(c.plan.PID); err != nil {
			return s, err
		}
	}
	s.client, err = proc.Read(os.Getpid())
	return s, err
}

// run sends requests until the run is over. An answer that is an error is counted; a connection that fails ends the run.
func (w *worker) run(ctx context.Context, c *crew) error {
	p := c.plan
	message := p.Server.Serialise(c.request)
	conn, err := p.Server.Dial(ctx, p.Warmup+p.Window+grace)
	c.ready.Done()
	if err != nil {
		return err
	}
	defer func() {
		if conn != nil {
			conn.Close()
		}
	}()
	for {
		phase := c.phase.Load()
		if phase == over {
			return nil
		}
		began := time.Now()
		if p.Reconnect {
			conn.Close() // its end is of no interest
			if conn, err = p.Server.Dial(ctx, grace); err != nil {
				return err
			}
		}
		status, body, err := conn.Do(message, &c.sequence)
		took := time.Since(began)
		if err != nil {
			return err
		}
		switch {
		case !api.OK(status):
			if w.errors++; w.first == "" {
				w.first = fmt.Sprintf("status %d: %.200s", status, body)
			}
		case phase == measuring && c.phase.Load() == measuring:
			w.took = append(w.took, took)
		}
	}
}

// sum makes one result of what the connections saw and what the kernel accounted.
func (c *crew) sum(workers []worker, before, after sample) *results.Run {
	p := c.plan
	r := &results.Run{Op: p.Op.Name, Conns: p.Conns, Reconnect: p.Reconnect}
	var all []time.Duration
	for i := range workers {
		all = append(all, workers[i].took...)
		r.Errors += workers[i].errors
		if r.Error == "" {
			r.Error = workers[i].first
		}
	}
	wall := after.client.At.Sub(before.client.At)
	r.Seconds, r.Ops = wall.Seconds(), uint64(len(all)*p.Op.Units())
	if len(all) == 0 { // refused, or the machine had no time for it
		return r
	}
	slices.Sort(all)
	n := float64(r.Ops)
	r.PerSecond = n / r.Seconds
	r.P50, r.P95, r.P99, r.P999, r.Max = micros(Quantile(all, .5)), micros(Quantile(all, .95)), micros(Quantile(all, .99)), micros(Quantile(all, .999)), micros(all[len(all)-1])
	own := after.client.CPU() - before.client.CPU()
	r.Client = micros(own) / n
	if p.PID == 0 {
		return r
	}
	from, to := &before.server, &after.server
	r.User, r.Sys = micros(to.User-from.User)/n, micros(to.Sys-from.Sys)/n
	r.Written = float64(to.Written-from.Written) / n
	r.RSS, r.Peak = to.RSS, to.Peak
	known := to.CPU() - from.CPU()
	if slices.ContainsFunc(to.Cores, func(core int) bool { return slices.Contains(after.client.Cores, core) }) {
		known += own
	}
	available := wall.Seconds() * float64(len(to.Cores))
	r.Other = max(0, (to.Busy-from.Busy-known).Seconds()/available)
	r.Stolen = (to.Stolen - from.Stolen).Seconds() / available
	return r
}

func micros(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 }

// Quantile is the least of the sorted values that a part q of them does not exceed.
func Quantile(sorted []time.Duration, q float64) time.Duration {
	i := int(q*float64(len(sorted))+0.999999) - 1
	return sorted[min(max(i, 0), len(sorted)-1)]
}
