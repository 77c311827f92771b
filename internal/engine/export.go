package engine

import (
	"context"
	"fmt"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/lifecycle"
	"github.com/keyhold/keyhold/internal/provider"
	"github.com/keyhold/keyhold/internal/transport"
)

// The descriptors of exporting. What leaves is a key that can do everything, so the version must be one that still processes.
var (
	exportKey = op[ExportInput, ExportOutput]{
		name: kms.ExportKey,
		roles: []role[ExportInput]{{action: kms.ExportKey, need: lifecycle.Process,
			key: func(in *ExportInput) (kms.Ref, error) { return in.Key, nil }}},
		check: checkExport,
		do:    doExport,
	}
	exportKeyUnder = op[ExportInput, ExportOutput]{
		name: kms.ExportKey,
		roles: append(exportKey.roles, role[ExportInput]{action: kms.WrapKey, need: lifecycle.Protect,
			key: func(in *ExportInput) (kms.Ref, error) { return in.WrappingKey, nil }}),
		check: checkExport,
		do:    doExport,
	}
)

// ExportKey wraps a version's material for a receiver. It never leaves otherwise.
func (e *Engine) ExportKey(ctx context.Context, c kms.Call, in ExportInput) (ExportOutput, error) {
	if in.WrappingKey != "" {
		return alter(ctx, e, c, ruled(&exportKeyUnder), &in)
	}
	return alter(ctx, e, c, ruled(&exportKey), &in)
}

func checkExport(in *ExportInput) error {
	if (len(in.Public) == 0) == (in.WrappingKey == "") {
		return kms.Errorf(kms.CodeBadRequest, "an export needs the receiver's public key, or a wrapping key that both sides have")
	}
	if in.WrappingKey != "" && in.Transport == 0 {
		in.Transport = kms.TransportKWP
	}
	if len(in.Public) > transport.MaxPublic || len(in.Info) > transport.MaxInfo {
		return kms.Errorf(kms.CodeTooLarge, "the receiver's public key and information have %d and %d bytes, the limits are %d and %d",
			len(in.Public), len(in.Info), transport.MaxPublic, transport.MaxInfo)
	}
	if in.WrappingKey == "" && in.Transport.Symmetric() {
		return checkUnder(in.Transport, "")
	}
	if in.WrappingKey != "" {
		return checkUnder(in.Transport, in.WrappingKey)
	}
	return nil
}

func doExport(ctx context.Context, w *work, in *ExportInput) (ExportOutput, error) {
	k := w.keys[0]
	to := provider.Receiver{Transport: in.Transport, Public: in.Public, Info: in.Info}
	name, err := w.receiver(ctx, in, &to)
	if err != nil {
		return ExportOutput{}, err
	}
	w.rec.Detail = fmt.Sprintf("to %s by %s", name, to.Transport)
	if !k.Exportable {
		return ExportOutput{}, kms.Errorf(kms.CodeNotExportable, "key %q was not created exportable: its material never leaves", k.Name)
	}
	v, err := w.version(ctx, 0, in.Version)
	if err != nil {
		return ExportOutput{}, err
	}
	if len(in.Info) > 0 && !to.Transport.Facts().Info {
		return ExportOutput{}, kms.Errorf(kms.CodeBadRequest, "%s binds the material to no information", to.Transport)
	}
	out, err := w.o.ring.Export(ctx, k.Key, v.Number, to)
	if err != nil {
		return ExportOutput{}, err
	}
	w.rec.Bytes = uint64(len(out.Bytes))
	return ExportOutput{
		Key: k.ID, Version: v.Number, Algorithm: v.Algorithm, Transport: to.Transport, Wrapped: out.Bytes, Receiver: name, Check: v.Check, KCV: out.KCV,
	}, nil
}

// receiver fills in who receives, and names it for the record.
func (w *work) receiver(ctx context.Context, in *ExportInput, to *provider.Receiver) (name string, err error) {
	if in.WrappingKey == "" {
		public, err := transport.ParsePublic(in.Public)
		if err != nil {
			return "", err
		}
		if to.Transport == 0 {
			to.Transport = public.For()
		}
		return fmt.Sprintf("sha256:%x", public.Fingerprint), nil
	}
	v, err := w.version(ctx, 1, in.WrappingVersion)
	if err != nil {
		return "", err
	}
	to.By = v.Handle
	return fmt.Sprintf("%s version %d", w.keys[1].ID, v.Number), nil
}
