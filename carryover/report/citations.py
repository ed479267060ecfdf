"""What the methods paragraph cites, as BibTeX."""

BIBTEX = {
    "ardila2020common": """@inproceedings{ardila2020common,
  title = {Common Voice: A Massively-Multilingual Speech Corpus},
  author = {Ardila, Rosana and Branson, Megan and Davis, Kelly and Kohler, Michael and Meyer, Josh and Henretty, Michael
            and Morais, Reuben and Saunders, Lindsay and Tyers, Francis and Weber, Gregor},
  booktitle = {Proceedings of the Twelfth Language Resources and Evaluation Conference (LREC)},
  pages = {4218--4222},
  year = {2020}
}""",
    "aljundi2018memory": """@inproceedings{aljundi2018memory,
  title = {Memory Aware Synapses: Learning What (not) to Forget},
  author = {Aljundi, Rahaf and Babiloni, Francesca and Elhoseiny, Mohamed and Rohrbach, Marcus and Tuytelaars, Tinne},
  booktitle = {European Conference on Computer Vision (ECCV)},
  year = {2018}
}""",
    "bisani2004bootstrap": """@inproceedings{bisani2004bootstrap,
  title = {Bootstrap Estimates for Confidence Intervals in {ASR} Performance Evaluation},
  author = {Bisani, Maximilian and Ney, Hermann},
  booktitle = {IEEE International Conference on Acoustics, Speech, and Signal Processing (ICASSP)},
  volume = {1},
  pages = {409--412},
  year = {2004}
}""",
    "graves2006connectionist": """@inproceedings{graves2006connectionist,
  title = {Connectionist Temporal Classification: Labelling Unsegmented Sequence Data with Recurrent Neural Networks},
  author = {Graves, Alex and Fern{\\'a}ndez, Santiago and Gomez, Faustino and Schmidhuber, J{\\"u}rgen},
  booktitle = {International Conference on Machine Learning (ICML)},
  pages = {369--376},
  year = {2006}
}""",
    "holm1979simple": """@article{holm1979simple,
  title = {A Simple Sequentially Rejective Multiple Test Procedure},
  author = {Holm, Sture},
  journal = {Scandinavian Journal of Statistics},
  volume = {6},
  number = {2},
  pages = {65--70},
  year = {1979}
}""",
    "kirkpatrick2017overcoming": """@article{kirkpatrick2017overcoming,
  title = {Overcoming Catastrophic Forgetting in Neural Networks},
  author = {Kirkpatrick, James and Pascanu, Razvan and Rabinowitz, Neil and Veness, Joel and Desjardins, Guillaume and
            Rusu, Andrei A. and Milan, Kieran and Quan, John and Ramalho, Tiago and Grabska-Barwinska, Agnieszka and
            Hassabis, Demis and Clopath, Claudia and Kumaran, Dharshan and Hadsell, Raia},
  journal = {Proceedings of the National Academy of Sciences},
  volume = {114},
  number = {13},
  pages = {3521--3526},
  year = {2017}
}""",
    "li2018learning": """@article{li2018learning,
  title = {Learning without Forgetting},
  author = {Li, Zhizhong and Hoiem, Derek},
  journal = {IEEE Transactions on Pattern Analysis and Machine Intelligence},
  volume = {40},
  number = {12},
  pages = {2935--2947},
  year = {2018}
}""",
    "li2018explicit": """@inproceedings{li2018explicit,
  title = {Explicit Inductive Bias for Transfer Learning with Convolutional Networks},
  author = {Li, Xuhong and Grandvalet, Yves and Davoine, Franck},
  booktitle = {International Conference on Machine Learning (ICML)},
  year = {2018}
}""",
    "loshchilov2019decoupled": """@inproceedings{loshchilov2019decoupled,
  title = {Decoupled Weight Decay Regularization},
  author = {Loshchilov, Ilya and Hutter, Frank},
  booktitle = {International Conference on Learning Representations (ICLR)},
  year = {2019}
}""",
    "radford2023robust": """@inproceedings{radford2023robust,
  title = {Robust Speech Recognition via Large-Scale Weak Supervision},
  author = {Radford, Alec and Kim, Jong Wook and Xu, Tao and Brockman, Greg and McLeavey, Christine and Sutskever,
            Ilya},
  booktitle = {International Conference on Machine Learning (ICML)},
  year = {2023}
}""",
    "ravanelli2021speechbrain": """@misc{ravanelli2021speechbrain,
  title = {{SpeechBrain}: A General-Purpose Speech Toolkit},
  author = {Ravanelli, Mirco and Parcollet, Titouan and Plantinga, Peter and Rouhe, Aku and others},
  note = {arXiv:2106.04624},
  year = {2021}
}""",
    "vaswani2017attention": """@inproceedings{vaswani2017attention,
  title = {Attention Is All You Need},
  author = {Vaswani, Ashish and Shazeer, Noam and Parmar, Niki and Uszkoreit, Jakob and Jones, Llion and Gomez, Aidan N.
            and Kaiser, {\\L}ukasz and Polosukhin, Illia},
  booktitle = {Advances in Neural Information Processing Systems (NeurIPS)},
  year = {2017}
}""",
    "wolf2020transformers": """@inproceedings{wolf2020transformers,
  title = {Transformers: State-of-the-Art Natural Language Processing},
  author = {Wolf, Thomas and Debut, Lysandre and Sanh, Victor and Chaumond, Julien and Delangue, Clement and others},
  booktitle = {Conference on Empirical Methods in Natural Language Processing: System Demonstrations},
  pages = {38--45},
  year = {2020}
}""",
}
