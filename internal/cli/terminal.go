package cli

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"golang.org/x/term"

	"github.com/keyhold/keyhold/internal/kms"
)

// confirm asks before something that cannot be taken back. Without a terminal it asks nobody: --yes is needed.
func (a *app) confirm(yes bool, question string) error {
	if err := a.askable(yes); yes || err != nil {
		return err
	}
	defer a.interruptible(func() {})()
	fmt.Fprintf(a.stderr, "%s [y/N] ", printable(question))
	answer, err := bufio.NewReader(io.LimitReader(a.in, maxTokenFile)).ReadString('\n')
	if err != nil && answer == "" {
		return refusal(kms.CodeCancelled, "run it again", "nothing was answered")
	}
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return nil
	}
	return refusal(kms.CodeCancelled, "nothing was changed", "the answer was not yes")
}

// askable tells whether there is somebody to ask, where that is needed.
func (a *app) askable(yes bool) error {
	if yes || isTerminal(a.in) && isTerminal(a.stderr) {
		return nil
	}
	return usagef("add --yes to do it without being asked", "this cannot be taken back, and there is no terminal to ask on")
}

// interruptible lets a signal end the program while it waits at a prompt, which no context can interrupt, and puts the
// terminal back as it was.
func (a *app) interruptible(restore func()) (done func()) {
	signals, ended := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		select {
		case <-signals:
			restore()
			fmt.Fprintln(a.stderr)
			os.Exit(exitFailure)
		case <-ended:
		}
	}()
	return func() {
		signal.Stop(signals)
		close(ended)
	}
}

// hidden reads a line on a terminal without showing it.
func (a *app) hidden(what string) ([]byte, error) {
	fd := int(a.in.Fd()) //nolint:gosec // G115: a descriptor
	before, err := term.GetState(fd)
	if err != nil {
		return nil, fmt.Errorf("read from the terminal: %w", err)
	}
	defer a.interruptible(func() { _ = term.Restore(fd, before) })()
	fmt.Fprintf(a.stderr, "%s: ", what)
	line, err := term.ReadPassword(fd)
	fmt.Fprintln(a.stderr)
	if err != nil {
		return nil, fmt.Errorf("read from the terminal: %w", err)
	}
	return line, nil
}

// secretText reads a secret of one line from a file, from standard input ("-", or no file and no terminal), or hidden from
// a terminal.
func (a *app) secretText(path, what string, most int) ([]byte, error) {
	var text []byte
	var err error
	switch {
	case path != "" && path != "-":
		text, err = readSmall(path, most)
	case isTerminal(a.in):
		if !isTerminal(a.stderr) {
			return nil, usagef("name a file, or pipe it in", "there is no terminal to ask for the %s", what)
		}
		text, err = a.hidden(what)
	default:
		text, err = readAtMost(a.in, "standard input", most)
	}
	if err != nil {
		return nil, err
	}
	trimmed := strings.TrimSpace(string(text))
	if trimmed == "" {
		return nil, refusal(kms.CodeBadRequest, "name a file that holds it, pipe it in, or run the command on a terminal", "no %s was given", what)
	}
	return []byte(trimmed), nil
}

// onTerminal refuses to write binary data where a person would see it.
func (a *app) onTerminal(what string) error {
	if !isTerminal(a.stdout) {
		return nil
	}
	return usagef("--out FILE writes it to a file, --base64 prints it as text, -o json describes it", "the %s is binary and standard output is a terminal", what)
}

// progress draws a bar on standard error while long work runs, if that is a terminal.
type progress struct {
	to    *os.File // nil: nobody looks
	label string
	drawn string
}

func (a *app) progress(label string) *progress {
	if !isTerminal(a.stderr) || a.getenv("TERM") == "dumb" {
		return &progress{}
	}
	return &progress{to: a.stderr, label: label}
}

const barWidth = 30

// show draws how far the work is; a total of 0 is not known.
func (p *progress) show(done, total uint64, unit func(uint64) string) {
	if p.to == nil {
		return
	}
	line := fmt.Sprintf("%s %s", p.label, unit(done))
	if total > 0 {
		full := int(min(done, total) * barWidth / total) //nolint:gosec // G115: at most barWidth
		line = fmt.Sprintf("%s [%s%s] %3d%% %s of %s", p.label, strings.Repeat("=", full), strings.Repeat(" ", barWidth-full), min(done, total)*100/total, unit(done), unit(total))
	}
	if line != p.drawn {
		fmt.Fprintf(p.to, "\r\x1b[K%s", line)
		p.drawn = line
	}
}

// end removes the bar.
func (p *progress) end() {
	if p.to != nil && p.drawn != "" {
		fmt.Fprint(p.to, "\r\x1b[K")
		p.drawn = ""
	}
}

func count(n uint64) string { return fmt.Sprint(n) }

// size is a number of bytes as people read it.
func size(n uint64) string {
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	f, units := float64(n), "KMGTPE"
	i := -1
	for f >= 1024 && i < len(units)-1 {
		f /= 1024
		i++
	}
	return fmt.Sprintf("%.1f %ciB", f, units[i])
}
