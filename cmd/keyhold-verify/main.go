// Command keyhold-verify checks Keyhold audit logs and proofs offline: it needs the files and the public key that its user pinned, nothing else.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/keyhold/keyhold/internal/audit/tree"
	"github.com/keyhold/keyhold/internal/audit/verify"
)

// Exit statuses.
const (
	verified    = 0
	notVerified = 1
	wrongUsage  = 2
)

const usage = `keyhold-verify checks a Keyhold audit log with nothing but its files and a public key.

  keyhold-verify --key audit.pub [--anchor FILE] DIR     check every record below DIR
  keyhold-verify --key audit.pub proof FILE              check the proof of one record
  keyhold-verify --key audit.pub consistency FILE        check the way from an earlier checkpoint to a later one
  keyhold-verify --key audit.pub receipt FILE            check the receipt of a destruction

  --key FILE      the public key of the checkpoints: lines of the form keyhold.CLUSTER+HASH+KEY
  --anchor FILE   checkpoints that you kept earlier; may be repeated. Without one, records that were
                  cut off the end of the log cannot be missed, and the answer says so
  --witness FILE  public keys of witnesses, lines of the form NAME+HASH+KEY: a checkpoint that they
                  cosigned counts as an anchor, and a proof must have one
  --witness-quorum K   how many of them must have cosigned it (default: all)
  -o FORMAT       text (default) or json
  --workers N     how many processors to use (default: all)
  -q              print nothing but what is wrong
  --help          this text

DIR is the audit folder of a server, one node's folder in it, or a copy of either. Keep the public key,
and now and then a copy of a node's file "checkpoint", where the server's administrators cannot change them.

Exit status: 0 verified, 1 not verified (every finding names file, epoch and record), 2 wrong usage.
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr)) //nolint:gocritic // exitAfterDefer: the process ends here
}

// files is a flag that may be repeated.
type files []string

func (f *files) String() string     { return strings.Join(*f, ",") }
func (f *files) Set(s string) error { *f = append(*f, s); return nil }

type options struct {
	key     string
	anchors files
	witness string
	quorum  int
	format  string
	workers int
	quiet   bool
}

func run(ctx context.Context, args []string, out, errs io.Writer) int {
	var o options
	fs := flag.NewFlagSet("keyhold-verify", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.StringVar(&o.key, "key", "", "")
	fs.Var(&o.anchors, "anchor", "")
	fs.StringVar(&o.witness, "witness", "", "")
	fs.IntVar(&o.quorum, "witness-quorum", 0, "")
	fs.StringVar(&o.format, "o", "text", "")
	fs.IntVar(&o.workers, "workers", 0, "")
	fs.BoolVar(&o.quiet, "q", false, "")
	wrong := func(format string, args ...any) int {
		fmt.Fprintf(errs, "keyhold-verify: "+format+"\nkeyhold-verify --help shows how it is used\n", args...)
		return wrongUsage
	}
	rest, err := parse(fs, args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(out, usage)
		return verified
	case err != nil:
		return wrong("%v", err)
	case o.format != "text" && o.format != "json":
		return wrong("%q is not a format: want text or json", o.format)
	case o.key == "":
		return wrong("no public key: pass --key FILE")
	case len(rest) == 0:
		return wrong("no folder: pass the audit folder, proof FILE, consistency FILE or receipt FILE")
	}
	keys, err := o.keys()
	if err != nil {
		return wrong("%v", err)
	}
	switch {
	case rest[0] == "proof" && len(rest) == 2:
		return proof(rest[1], keys, &o, out, errs)
	case rest[0] == "consistency" && len(rest) == 2:
		return consistency(rest[1], keys, &o, out, errs)
	case rest[0] == "receipt" && len(rest) == 2:
		return receipt(rest[1], keys, &o, out, errs)
	case rest[0] == "proof" || rest[0] == "consistency" || rest[0] == "receipt":
		return wrong("want: %s FILE", rest[0])
	case len(rest) == 1:
		return log(ctx, rest[0], keys, &o, out, errs)
	}
	return wrong("more than one folder")
}

// keys reads the public keys that its user pinned.
func (o *options) keys() (verify.Keys, error) {
	text, err := os.ReadFile(o.key)
	if err != nil {
		return verify.Keys{}, fmt.Errorf("read the public key: %w", err)
	}
	keys, err := verify.ParseKeys(text)
	if err != nil {
		return keys, fmt.Errorf("%s: %w", o.key, err)
	}
	if o.witness == "" {
		if o.quorum != 0 {
			return keys, errors.New("--witness-quorum needs --witness FILE")
		}
		return keys, nil
	}
	if text, err = os.ReadFile(o.witness); err != nil {
		return keys, fmt.Errorf("read the keys of witnesses: %w", err)
	}
	if keys.Witnesses, err = verify.ParseWitnesses(text, o.quorum); err != nil {
		return keys, fmt.Errorf("%s: %w", o.witness, err)
	}
	return keys, nil
}

// parse takes flags before, between and after the other arguments.
func parse(fs *flag.FlagSet, args []string) (rest []string, err error) {
	for {
		if err := fs.Parse(args); err != nil {
			return nil, err
		}
		if fs.NArg() == 0 {
			return rest, nil
		}
		rest = append(rest, fs.Arg(0))
		args = fs.Args()[1:]
	}
}

func log(ctx context.Context, dir string, keys verify.Keys, o *options, out, errs io.Writer) int {
	opts := verify.Options{Dir: dir, Keys: keys, Workers: o.workers}
	for _, path := range o.anchors {
		data, err := readAll(path)
		if err != nil {
			fmt.Fprintf(errs, "keyhold-verify: read the anchor: %v\n", err)
			return wrongUsage
		}
		opts.Anchors = append(append(opts.Anchors, strings.TrimRight(string(data), "\n")...), "\n\n"...)
	}
	if !o.quiet && terminal(os.Stderr) {
		opts.Progress = progress(errs)
	}
	began := time.Now()
	rep, err := verify.Dir(ctx, opts)
	if opts.Progress != nil {
		fmt.Fprint(errs, "\r\x1b[K")
	}
	if err != nil {
		fmt.Fprintf(errs, "keyhold-verify: %v\n", err)
		if errors.Is(err, verify.ErrNoLog) || errors.Is(err, os.ErrNotExist) {
			return wrongUsage
		}
		return notVerified
	}
	if o.format == "json" {
		if err := encode(out, rep); err != nil {
			return notVerified
		}
	} else {
		show(rep, o.quiet, keys.Witnesses.Wanted(), time.Since(began), out)
	}
	if !rep.Verified {
		return notVerified
	}
	return verified
}

// show writes a report for people.
func show(rep *verify.Report, quiet bool, quorum int, took time.Duration, out io.Writer) {
	if !quiet {
		for i := range rep.Epochs {
			e := &rep.Epochs[i]
			fmt.Fprintf(out, "%s: %d records, %d under %d checkpoints", e.Origin, e.Records, e.Signed, e.Checkpoints)
			if e.Anchored > 0 {
				fmt.Fprintf(out, ", %d under an anchor", e.Anchored)
			}
			if e.Unkeyed > 0 {
				fmt.Fprintf(out, ", %d written before unsealing", e.Unkeyed)
			}
			if e.Erased > 0 {
				fmt.Fprintf(out, ", %d with erased names", e.Erased)
			}
			if e.Retired > 0 {
				fmt.Fprintf(out, ", %d of which the data was dropped", e.Retired)
			}
			fmt.Fprintln(out)
			for _, c := range e.Cosigned {
				fmt.Fprintf(out, "  %d records cosigned by %s\n", c.Records, clean(c.Vouch.String()))
			}
			for _, n := range e.Notes {
				fmt.Fprintf(out, "  note: %s\n", clean(n))
			}
		}
	}
	for _, f := range rep.Findings {
		fmt.Fprintf(out, "WRONG %s\n", clean(f.String()))
	}
	if rep.More > 0 {
		fmt.Fprintf(out, "WRONG and %d more\n", rep.More)
	}
	if quiet {
		return
	}
	switch {
	case rep.Kept:
	case rep.Cosigned:
		fmt.Fprintln(out, "anchored by witnesses, as of the times shown: what was cut off after them does not show. Whoever can change these files can remove later cosignatures too: pass the witness's own checkpoints as --anchor")
	case quorum > 0:
		fmt.Fprintf(out, "tail unanchored: no checkpoint in these files has the cosignatures of %d witnesses\n", quorum)
	default:
		fmt.Fprintln(out, "tail unanchored: without --anchor CHECKPOINT nobody can tell from the files whether records were cut off the end")
	}
	if rep.Tail > 0 {
		fmt.Fprintf(out, "%d records behind the last checkpoint are chained but not signed yet\n", rep.Tail)
	}
	if rep.Verified {
		fmt.Fprintf(out, "verified: %d records in %s\n", rep.Records, took.Round(time.Millisecond))
		return
	}
	fmt.Fprintln(out, "NOT VERIFIED. Keep this folder as it is, and a copy of it elsewhere")
}

type provenJSON struct {
	Verified bool   `json:"verified"`
	Position string `json:"position"`
	Origin   string `json:"origin"`
	Size     uint64 `json:"checkpoint_size"`
	Time     string `json:"time"`
	Action   string `json:"action"`
	Outcome  string `json:"outcome"`
	Erased   bool   `json:"erased"`
	Name     string `json:"principal,omitempty"`
	Key      string `json:"key,omitempty"`
	Request  string `json:"request_id,omitempty"`

	Cosigned []verify.Vouch `json:"cosigned,omitempty"`
}

func proof(path string, keys verify.Keys, o *options, out, errs io.Writer) int {
	text, err := readAll(path)
	if err != nil {
		fmt.Fprintf(errs, "keyhold-verify: read the proof: %v\n", err)
		return wrongUsage
	}
	p, err := verify.Proof(text, keys)
	if err != nil {
		return refused(path, err, o, out)
	}
	r := &p.Record
	j := provenJSON{
		Verified: true, Position: p.Position.String(), Origin: p.Checkpoint.Origin, Size: p.Checkpoint.Size,
		Time: r.Time.Format(time.RFC3339Nano), Action: r.Action.String(), Outcome: r.Outcome.String(), Erased: r.Erased, Name: r.Name, Request: r.RequestID,
		Cosigned: p.Cosigned,
	}
	if len(r.Keys) > 0 {
		j.Key = r.Keys[0].Key.String()
	}
	if o.format == "json" {
		if err := encode(out, j); err != nil {
			return notVerified
		}
		return verified
	}
	if o.quiet {
		return verified
	}
	fmt.Fprintf(out, "record   %s\ntime     %s\naction   %s: %s\n", j.Position, j.Time, j.Action, j.Outcome)
	for _, line := range [][2]string{{"who", j.Name}, {"key", j.Key}, {"request", j.Request}} {
		if line[1] != "" {
			fmt.Fprintf(out, "%-8s %s\n", line[0], clean(line[1]))
		}
	}
	if r.Erased {
		fmt.Fprintln(out, "who      erased")
	}
	if len(p.Cosigned) > 0 {
		fmt.Fprintf(out, "cosigned by %s\n", clean(verify.Names(p.Cosigned)))
	}
	fmt.Fprintf(out, "verified: it is one of the %d records of %s that the checkpoint signs\n", j.Size, clean(j.Origin))
	return verified
}

// refused says that a proof does not hold.
func refused(path string, why error, o *options, out io.Writer) int {
	if o.format == "json" {
		_ = encode(out, struct {
			Verified bool   `json:"verified"`
			Why      string `json:"why"`
		}{false, why.Error()})
		return notVerified
	}
	fmt.Fprintf(out, "WRONG %s: %s\nNOT VERIFIED\n", clean(path), clean(why.Error()))
	return notVerified
}

func encode(out io.Writer, v any) error {
	e := json.NewEncoder(out)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// readAll reads a proof or a file of checkpoints.
func readAll(path string) ([]byte, error) {
	const most = 16 << 20
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // read only
	data, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && len(data) > most {
		err = fmt.Errorf("%s has more than %d bytes, which is more than %d checkpoints", path, most, most/tree.MaxNote)
	}
	return data, err
}

// clean keeps what stands in a log from writing to the terminal in any other way than as text.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return '�'
		}
		return r
	}, s)
}

func terminal(f *os.File) bool {
	st, err := f.Stat()
	return err == nil && st.Mode()&os.ModeCharDevice != 0
}

func progress(errs io.Writer) func(done, total int64) {
	last := time.Now()
	return func(done, total int64) {
		const often = 200 * time.Millisecond
		if total == 0 || time.Since(last) < often {
			return
		}
		last = time.Now()
		fmt.Fprintf(errs, "\rverifying: %d of %d MiB (%d%%)", done>>20, total>>20, done*100/total)
	}
}
