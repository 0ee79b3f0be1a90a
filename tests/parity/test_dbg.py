import sys; sys.path.insert(0,"tests/parity")
import test_references_parity as t, torch, tiny_dits
from figures import relative
def test_x():
    family="Z-Image"
    model=tiny_dits.model(family)
    (positive,_),negative=t.sides(family), tiny_dits.conditioning(2)
    ((text, options),) = positive
    half = [[text, {**options, "area": (14, 12, 0, 10)}]]
    by=t.people_at(t.MASKS[:, :, 80:])
    m=t.masked(family, model, by)
    import pack.nodes.references.by_region as b
    o=b.PaddedReferencesBatch.split
    done=set()
    def split(self,q,k,options):
        r=o(self,q,k,options)
        if r is not None and (q,options.get("likeness_refiner")) not in done:
            done.add((q,options.get("likeness_refiner")))
            mine=torch.zeros(q,k)>0
            for g in r.groups:
                mine[g.queries[:,None], torch.arange(k) if g.keys is None else g.keys]=True
            ref=t.allowed(t.pieces(family,[12,15,16,6],42,k),by,False)
            print(q, options.get("likeness_refiner"), (mine!=ref).sum())
        return r
    b.PaddedReferencesBatch.split=split
    e=t.sample(family,(m,half,negative),steps=1)
    p=t.sample(family,(model,half,negative),steps=1)
    l,h,_=t.bind(model,half,half)
    f=t.sample(family,(l,h,negative),steps=1)
    print(relative(f,e),relative(p,e),relative(p,f))
    print((f-e).abs().amax((0,1)))
    b.PaddedReferencesBatch.split=o
