package awstest

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"sync"
	"testing"

	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"
)

// operations are those that the SDK's client has, which are those of the model.
func operations(t *testing.T) []string {
	t.Helper()
	var all []string
	for m := range reflect.TypeFor[*kms.Client]().Methods() {
		if m.Name != "Options" {
			all = append(all, m.Name)
		}
	}
	slices.Sort(all)
	if len(all) < 56 {
		t.Fatalf("%d operations: not all are found", len(all))
	}
	return all
}

// sdk is a client as a program has it whose user set the environment from dev.env, and nothing else.
func sdk(t *testing.T, more ...func(*kms.Options)) *kms.Client {
	t.Helper()
	dev.setenv(t)
	cfg, err := config.LoadDefaultConfig(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return kms.NewFromConfig(cfg, more...)
}

// ledger notes which operations a client called, and what came of them.
type ledger struct {
	mu       sync.Mutex
	answered map[string]int
	refused  map[string]map[string]int // by operation and the error's code
}

func newLedger() *ledger {
	return &ledger{answered: map[string]int{}, refused: map[string]map[string]int{}}
}

// watch makes a client note.
func (l *ledger) watch(o *kms.Options) {
	o.APIOptions = append(o.APIOptions, func(stack *middleware.Stack) error {
		return stack.Initialize.Add(middleware.InitializeMiddlewareFunc("ledger", func(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (
			middleware.InitializeOutput, middleware.Metadata, error,
		) {
			out, meta, err := next.HandleInitialize(ctx, in)
			l.note(awsmiddleware.GetOperationName(ctx), err)
			return out, meta, err
		}), middleware.Before)
	})
}

func (l *ledger) note(operation string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil {
		l.answered[operation]++
		return
	}
	if l.refused[operation] == nil {
		l.refused[operation] = map[string]int{}
	}
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		l.refused[operation][api.ErrorCode()]++
	}
}

// must takes a call that has to succeed.
func must[T any](t *testing.T) func(out T, err error) T {
	t.Helper()
	return func(out T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
}

// refusal takes a call that has to fail with an error of a type of the SDK's, and gives the error.
func refusal[E error](t *testing.T) func(out any, err error) E {
	t.Helper()
	return func(_ any, err error) E {
		t.Helper()
		e, ok := errors.AsType[E](err)
		if !ok {
			t.Errorf("got %v, want %T", err, e)
		}
		return e
	}
}

// coded takes a call that has to fail with a code that the SDK has no type for.
func coded(t *testing.T, code string) func(out any, err error) {
	t.Helper()
	return func(_ any, err error) {
		t.Helper()
		if api, ok := errors.AsType[smithy.APIError](err); !ok || api.ErrorCode() != code {
			t.Errorf("got %v, want %s", err, code)
		}
	}
}
