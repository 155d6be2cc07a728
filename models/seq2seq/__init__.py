"""What tasks share that write one sequence for another, free of torch: options, vocabularies, and the search.

``options`` what a network takes, ``sizes`` how large it gets · ``parts`` the graphs that are exported · ``languages``
both vocabularies · ``running`` runs of these graphs · ``beam`` the search around them, ``telling`` one target token by
token · ``forced`` the likelihood of a given target · ``writing`` the text of a target. The networks are in
``models/nn/seq2seq``; tasks bring requests and answers.
"""
