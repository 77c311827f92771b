package native

import (
	"context"

	"connectrpc.com/connect"

	keyholdv1 "github.com/keyhold/keyhold/api/keyhold/v1"
	"github.com/keyhold/keyhold/internal/engine"
	"github.com/keyhold/keyhold/internal/kms"
)

func (s inventoryService) ListInventory(ctx context.Context, r *connect.Request[keyholdv1.ListInventoryRequest]) (*connect.Response[keyholdv1.ListInventoryResponse], error) {
	filter, err := inventoryFilter(r.Msg.GetFilter())
	if err != nil {
		return nil, err
	}
	out, err := s.engine.ReadInventory(ctx, callOf(ctx), engine.InventoryInput{Filter: filter, Page: r.Msg.GetPageToken(), Limit: int(r.Msg.GetPageSize())})
	return answer(&keyholdv1.ListInventoryResponse{
		Keys: each(out.Rows, inventoryMessage), NextPageToken: out.Next, Scanned: uint32(out.Scanned), //nolint:gosec // G115: bounded by the engine
		Since: stamp(out.Since), Through: stamp(out.Through), AccessShown: out.Access,
	}, err)
}

func inventoryMessage(row *engine.InventoryRow) *keyholdv1.InventoryKey {
	m := &keyholdv1.InventoryKey{
		Key: keyMessage(&row.Key), Versions: each(row.Versions, versionMessage),
		Rotation: row.Rotation.How, RotatedAt: stamp(row.Rotation.Last), NextRotation: stamp(row.Rotation.Next), Overdue: row.Rotation.Overdue,
		LastUsed: stamp(row.Use.Last), Uses: row.Use.Done,
		Users: row.Access.Users, UserCount: uint32(row.Access.UserCount), Managers: row.Access.Managers, ManagerCount: uint32(row.Access.ManagerCount), //nolint:gosec // G115: counts
		DataKeys: uint32(row.DataKeys), OutsideDataKeys: uint32(row.OutsideDataKeys), //nolint:gosec // G115: counts
		Unknown: row.Unknown,
	}
	if row.State != 0 {
		m.VersionState = row.State.String()
	}
	return m
}

func inventoryFilter(m *keyholdv1.InventoryFilter) (f engine.InventoryFilter, err error) {
	f = engine.InventoryFilter{Class: m.GetDataClass(), Template: m.GetTemplate(), Overdue: m.GetOverdue(), Unknown: m.GetUnknown()}
	if f.KeyFilter, err = keyFilter(m); err != nil {
		return f, err
	}
	if f.Origin, err = named(m.GetOrigin(), "an origin", []kms.Origin{kms.Generated, kms.Imported, kms.HSM, kms.External}); err != nil {
		return f, err
	}
	if f.State, err = named(m.GetVersionState(), "the state of a version", kms.AllStates()); err != nil {
		return f, err
	}
	f.UnusedSince, err = moment(m.GetUnusedSince(), "filter.unused_since")
	return f, err
}

// named finds a word of a list; not set is the zero value.
func named[T interface {
	comparable
	String() string
}](word, what string, all []T) (none T, err error) {
	if word == "" {
		return none, nil
	}
	for _, t := range all {
		if t.String() == word {
			return t, nil
		}
	}
	return none, kms.Errorf(kms.CodeBadRequest, "%q is not %s", clip(word), what)
}

func (s inventoryService) SummarizeInventory(ctx context.Context, r *connect.Request[keyholdv1.SummarizeInventoryRequest]) (*connect.Response[keyholdv1.SummarizeInventoryResponse], error) {
	filter, err := inventoryFilter(r.Msg.GetFilter())
	if err != nil {
		return nil, err
	}
	out, err := s.engine.SummarizeInventory(ctx, callOf(ctx), engine.InventorySummaryInput{Filter: filter, Page: r.Msg.GetPageToken()})
	return answer(&keyholdv1.SummarizeInventoryResponse{
		Keys: uint64(out.Keys), Overdue: uint64(out.Overdue), NeverUsed: uint64(out.NeverUsed), //nolint:gosec // G115: counts
		ByClass: counts(out.Class), ByAlgorithm: counts(out.Algorithm), ByState: counts(out.Switch), ByRotation: counts(out.Rotation), Unknown: counts(out.Unknown),
		NextPageToken: out.Next, Scanned: uint32(out.Scanned), //nolint:gosec // G115: bounded by the engine
	}, err)
}

func counts(of map[string]int) map[string]uint64 {
	to := make(map[string]uint64, len(of))
	for name, n := range of {
		to[name] = uint64(n) //nolint:gosec // G115: a count
	}
	return to
}
