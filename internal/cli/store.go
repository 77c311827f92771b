package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/keyhold/keyhold/client"
	"github.com/keyhold/keyhold/internal/kms"
)

func removeFile(path string) error { return os.Remove(filepath.Clean(path)) }

func (a *app) storeCommand() *cobra.Command {
	return group(groupServer, "store", "Check and back up the store",
		"Check and back up the store. Everything in it is sealed; a backup is useless without what opens the root key.",
		a.storeCheck(), a.storeExport())
}

func (a *app) storeCheck() *cobra.Command {
	return &cobra.Command{
		Use: "check", Short: "Open every record and load every key",
		Long:    "Let the server open every record and load every key, and name what is damaged. Status 1 means that something is. On a large store raise --timeout.",
		Example: "  keyhold store check\n  keyhold store check --timeout 1h",
		Args:    cobra.NoArgs,
		RunE: a.call(func(ctx context.Context, c *client.Client, _ []string) error {
			stop := a.waiting("checking the store")
			r, err := c.CheckStore(ctx, a.options()...)
			stop()
			if err != nil {
				return err
			}
			if a.json() {
				return errors.Join(a.writeJSON(r), answered(r.DamagedCount == 0))
			}
			verdict := state("ok")
			if r.DamagedCount > 0 {
				verdict = cell{fmt.Sprintf("DAMAGED: %d", r.DamagedCount), red}
			}
			all := []fact{{"store", verdict}, {"records", plain(count(r.Records))}, {"keys", plain(count(r.Keys))}, {"versions", plain(count(r.Versions))}}
			for _, d := range r.Damaged {
				all = append(all, fact{"damaged", cell{d, red}})
			}
			if uint64(len(r.Damaged)) < r.DamagedCount {
				all = append(all, fact{"", plain(fmt.Sprintf("and %d more", r.DamagedCount-uint64(len(r.Damaged))))})
			}
			return errors.Join(a.facts(all...), answered(r.DamagedCount == 0))
		}),
		ValidArgsFunction: fixed(),
	}
}

// waiting shows that time passes, while the server works without telling how far it is.
func (a *app) waiting(what string) (stop func()) {
	bar := a.progress(what)
	if bar.to == nil {
		return func() {}
	}
	ended, gone := make(chan struct{}), make(chan struct{})
	began := time.Now()
	go func() {
		defer close(gone)
		tick := time.NewTicker(drawEvery)
		defer tick.Stop()
		for {
			select {
			case <-ended:
				bar.end()
				return
			case <-tick.C:
				bar.show(uint64(time.Since(began).Seconds()), 0, func(n uint64) string { return spell(time.Duration(n) * time.Second) }) //nolint:gosec // G115: a command's time
			}
		}
	}()
	return func() { close(ended); <-gone }
}

// exported is the JSON of a backup.
type exported struct {
	Out      string `json:"out,omitempty"`
	Bytes    uint64 `json:"bytes"`
	Revision uint64 `json:"revision"`
	DryRun   bool   `json:"dry_run,omitempty"`
}

func (a *app) storeExport() *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use: "export --out FILE", Short: "Write an ordinary backup of the store",
		Long: `Write an ordinary backup of the store. Everything in it is sealed, and it does not hold what is needed to open destroyed keys. The file appears
when it is complete. With --out - it goes to standard output.`,
		Example: "  keyhold store export --out keyhold.backup",
		Args:    cobra.NoArgs,
		RunE: a.call(func(ctx context.Context, c *client.Client, _ []string) error {
			switch out {
			case "":
				return usagef("--out FILE names it; --out - is standard output", "a backup needs a file")
			case "-":
				if isTerminal(a.stdout) {
					return usagef("--out FILE writes it to a file", "the backup is binary and standard output is a terminal")
				}
				if a.json() {
					return usagef("--out FILE writes it to a file", "the backup and its description cannot both go to standard output")
				}
				_, err := c.Export(ctx, a.out, a.options()...)
				return err
			}
			return a.export(ctx, c, out)
		}),
		ValidArgsFunction: fixed(),
	}
	cmd.Flags().StringVar(&out, "out", "", "file to write to (mode 0600)")
	return cmd
}

// counter counts what goes through it.
type counter struct {
	to  io.Writer
	n   uint64
	bar *progress
}

func (w *counter) Write(b []byte) (int, error) {
	n, err := w.to.Write(b)
	w.n += uint64(n) //nolint:gosec // G115: not negative
	w.bar.show(w.n, 0, size)
	return n, err
}

func (a *app) export(ctx context.Context, c *client.Client, out string) error {
	f, err := newFile(out, 0o600)
	if err != nil {
		return err
	}
	w := &counter{to: f, bar: a.progress("exporting")}
	rev, err := c.Export(ctx, w, a.options()...)
	w.bar.end()
	if err != nil {
		return errors.Join(err, f.abandon())
	}
	if err := f.keep(); err != nil {
		return err
	}
	if a.json() {
		return a.writeJSON(exported{Out: out, Bytes: w.n, Revision: rev})
	}
	_, err = fmt.Fprintf(a.out, "exported revision %d, %s, to %s\n", rev, size(w.n), printable(out))
	return err
}

// await polls the jobs until one is no longer running.
func (a *app) await(ctx context.Context, c *client.Client, name string, jobs []client.Job) ([]client.Job, error) {
	bar := a.progress(name)
	defer bar.end()
	for pause := pollFirst; ; pause = min(2*pause, pollMost) { // each question has an audit record
		i := indexOf(jobs, name)
		if i < 0 {
			return jobs, nil
		}
		switch j := jobs[i]; j.State {
		case "failed":
			return jobs, refusal(kms.CodeInternal, "keyhold jobs shows when it runs again; the server's log has the details", "the job %s failed: %s", j.Name, j.Note)
		case "running":
			if j.Total > 0 && j.Done >= j.Total {
				return jobs, nil
			}
			bar.show(j.Done, j.Total, count)
		default:
			return jobs, nil
		}
		select {
		case <-ctx.Done():
			return jobs, ctx.Err()
		case <-time.After(pause):
		}
		var err error
		if jobs, err = c.ListJobs(ctx, 0, a.options()...); err != nil {
			return jobs, err
		}
	}
}

func indexOf(jobs []client.Job, name string) int {
	for i, j := range jobs {
		if j.Name == name {
			return i
		}
	}
	return -1
}
